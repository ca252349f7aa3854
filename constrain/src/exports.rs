//! The module's exports: numbers, and bytes in one buffer that the owner writes and reads.
//!
//! Exports return a number that is not negative, or -1 and the reason as JSON ([`Refused`]) in the buffer.

use crate::{Constraint, Grammar, Refused, Vocabulary};
use std::cell::RefCell;

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    vocabulary: Option<Vocabulary>,
    /// By number; `None` where one was dropped.
    constraints: Vec<Option<Constraint>>,
    mask: Vec<u32>,
}

impl State {
    /// Keeps a constraint; its number.
    fn keep(&mut self, constraint: Constraint) -> i32 {
        let free = self.constraints.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            self.constraints.push(None);
            self.constraints.len() - 1
        });
        self.constraints[number] = Some(constraint);
        number as i32
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Runs `act`; what it refuses goes into the buffer.
fn within(act: impl FnOnce(&mut State) -> Result<i32, Refused>) -> i32 {
    STATE.with_borrow_mut(|state| match act(state) {
        Ok(value) => value,
        Err(refused) => {
            state.buffer = serde_json::to_vec(&refused).unwrap_or_default();
            -1
        }
    })
}

/// Runs `act` on a constraint, with the buffer.
fn with(number: usize, act: impl FnOnce(&mut Constraint, &mut Vec<u8>) -> Result<i32, Refused>) -> i32 {
    within(|state| match state.constraints.get_mut(number) {
        Some(Some(constraint)) => act(constraint, &mut state.buffer),
        _ => Err(missing()),
    })
}

fn missing() -> Refused {
    Refused::new("there is no such constraint")
}

/// Makes the buffer so long; where it begins.
#[unsafe(no_mangle)]
extern "C" fn reserve(bytes: usize) -> *const u8 {
    STATE.with_borrow_mut(|state| {
        state.buffer.clear();
        state.buffer.resize(bytes, 0);
        state.buffer.as_ptr()
    })
}

/// Where the buffer begins.
#[unsafe(no_mangle)]
extern "C" fn address() -> *const u8 {
    STATE.with_borrow(|state| state.buffer.as_ptr())
}

/// Bytes in the buffer.
#[unsafe(no_mangle)]
extern "C" fn length() -> usize {
    STATE.with_borrow(|state| state.buffer.len())
}

/// Takes the vocabulary from the buffer: the number of tokens and of those that end an answer, the latter, the length of
/// each token's bytes, all in 32 bits; then those bytes. Constraints of another one are dropped.
#[unsafe(no_mangle)]
extern "C" fn vocabulary() -> i32 {
    within(|state| {
        let bytes = std::mem::take(&mut state.buffer);
        let (pieces, ends) = parts(&bytes).ok_or_else(|| Refused::new("the vocabulary is not readable"))?;
        state.constraints.clear();
        state.vocabulary = Some(Vocabulary::new(pieces, &ends)?);
        Ok(0)
    })
}

fn parts(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, Vec<u32>)> {
    let mut rest = bytes;
    let number = |rest: &mut &[u8]| {
        let (now, later) = rest.split_first_chunk::<4>()?;
        *rest = later;
        Some(u32::from_le_bytes(*now))
    };
    let (count, ends) = (number(&mut rest)?, number(&mut rest)?);
    let ends = (0..ends).map(|_| number(&mut rest)).collect::<Option<_>>()?;
    let lengths = (0..count).map(|_| number(&mut rest)).collect::<Option<Vec<u32>>>()?;
    let piece = |length: u32| {
        let (now, later) = rest.split_at_checked(length as usize)?;
        rest = later;
        Some(now.to_vec())
    };
    Some((lengths.into_iter().map(piece).collect::<Option<_>>()?, ends))
}

/// Prepares the grammar whose JSON ([`Grammar`]) is in the buffer; its number.
#[unsafe(no_mangle)]
extern "C" fn compile() -> i32 {
    within(|state| {
        let vocabulary = state.vocabulary.as_ref().ok_or_else(|| Refused::new("there is no vocabulary"))?;
        let grammar: Grammar =
            serde_json::from_slice(&state.buffer).map_err(|error| Refused::new(format!("no grammar: {error}")))?;
        let constraint = vocabulary.compile(grammar)?;
        state.mask = vec![0; vocabulary.words()];
        Ok(state.keep(constraint))
    })
}

/// Another constraint of the same grammar, before its first token; its number.
#[unsafe(no_mangle)]
extern "C" fn another(number: usize) -> i32 {
    within(|state| match state.constraints.get(number) {
        Some(Some(constraint)) => {
            let another = constraint.another();
            Ok(state.keep(another))
        }
        _ => Err(missing()),
    })
}

/// Forgets a grammar.
#[unsafe(no_mangle)]
extern "C" fn release(number: usize) {
    STATE.with_borrow_mut(|state| {
        if let Some(constraint) = state.constraints.get_mut(number) {
            *constraint = None;
        }
    });
}

/// Goes back to before the first token.
#[unsafe(no_mangle)]
extern "C" fn restart(number: usize) -> i32 {
    with(number, |constraint, _| {
        constraint.restart();
        Ok(0)
    })
}

/// Writes the bits of the tokens that may come next; where they begin.
#[unsafe(no_mangle)]
extern "C" fn mask(number: usize) -> i32 {
    within(|state| match state.constraints.get_mut(number) {
        Some(Some(constraint)) => {
            constraint.mask(&mut state.mask)?;
            Ok(state.mask.as_ptr() as i32)
        }
        _ => Err(missing()),
    })
}

/// A token has come; 1 if only the end can follow, or 0.
#[unsafe(no_mangle)]
extern "C" fn commit(number: usize, token: u32) -> i32 {
    with(number, |constraint, _| constraint.commit(token).map(i32::from))
}

/// How many of the tokens in the buffer may come one after the other.
#[unsafe(no_mangle)]
extern "C" fn agreeing(number: usize) -> i32 {
    with(number, |constraint, buffer| {
        let tokens: Vec<u32> =
            buffer.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
        Ok(constraint.agreeing(&tokens) as i32)
    })
}

/// Writes the bytes that have to come next into the buffer; 1 if only the end can follow them, or 0.
#[unsafe(no_mangle)]
extern "C" fn forced(number: usize) -> i32 {
    with(number, |constraint, buffer| {
        let (bytes, ends) = constraint.forced();
        *buffer = bytes;
        Ok(i32::from(ends))
    })
}
