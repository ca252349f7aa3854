//! A sequence as bytes, so that it outlives its engine: written and read in pieces, however long it is. All numbers are
//! little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CHORDSEQ` |
//! | 4 | version of this format |
//! | 8 | fingerprint of the model, of the build that computed it, and of the format of keys and values |
//! | 4 | number of tokens, n |
//! | 8 | bytes of the states |
//! | 4 | number of adapters that had a part in it, a |
//! | 12 a | of each what tells it from others (8), and its scale |
//! | 8 | checksum of all that |
//! | 4 n | the tokens |
//! | … | every state, as [`crate::state::Layout`] says, of n positions |
//! | 8 | checksum of all that, the first one included |

use crate::error::{ChordError, ErrorCode, Result};
use crate::program::StateId;
use crate::state::Layout;
use std::ops::Range;

const MAGIC: &[u8; 8] = b"CHORDSEQ";
const VERSION: u32 = 3;
/// Bytes before the adapters, of one of these, and of a checksum.
const HEADER_BYTES: usize = 36;
const ADAPTER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 8;
/// More adapters are in no engine.
const ADAPTERS_MAX: usize = 1024;

/// An adapter that had a part in a sequence: what tells it from others, and its scale.
pub type Used = (u64, f32);

/// A way through the bytes of all states, piece by piece.
#[derive(Default)]
struct Walk {
    state: usize,
    /// Bytes of the state that lie behind.
    at: usize,
}

impl Walk {
    /// The next piece of at most so many bytes, as a range of a state's bytes. None at the end.
    fn next(&mut self, layout: &Layout, positions: usize, most: usize) -> Option<(StateId, Range<usize>)> {
        loop {
            let state = layout.states().nth(self.state)?;
            let end = layout.state_bytes(state, positions);
            if self.at < end {
                return Some((state, self.at..end.min(self.at + most)));
            }
            *self = Walk { state: self.state + 1, at: 0 };
        }
    }
}

/// A sequence that is being written.
pub struct Saving {
    /// How many tokens it has.
    pub tokens: usize,
    hash: Hash,
    walk: Walk,
    /// Whether some of it was handed over.
    pub is_begun: bool,
    /// Bytes that are handed over next.
    pub piece: Vec<u8>,
    is_summed: bool,
}

impl Saving {
    /// Begins with what comes before the states.
    pub fn new(tokens: &[u32], fingerprint: u64, adapters: &[Used], layout: &Layout) -> Saving {
        let mut piece = Vec::new();
        piece.extend_from_slice(MAGIC);
        piece.extend_from_slice(&VERSION.to_le_bytes());
        piece.extend_from_slice(&fingerprint.to_le_bytes());
        piece.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
        piece.extend_from_slice(&(layout.bytes(tokens.len()) as u64).to_le_bytes());
        piece.extend_from_slice(&(adapters.len() as u32).to_le_bytes());
        for (hash, scale) in adapters {
            piece.extend_from_slice(&hash.to_le_bytes());
            piece.extend_from_slice(&scale.to_le_bytes());
        }
        piece.extend_from_slice(&fold(SEED, &piece).to_le_bytes());
        tokens.iter().for_each(|token| piece.extend_from_slice(&token.to_le_bytes()));
        let (hash, walk) = (Hash::new(SEED), Walk::default());
        Saving { tokens: tokens.len(), hash, walk, is_begun: false, piece, is_summed: false }
    }

    /// The piece of a state to append to what is handed over next, of at most so many bytes. None at the end.
    pub fn wanted(&mut self, layout: &Layout, most: usize) -> Option<(StateId, Range<usize>)> {
        self.walk.next(layout, self.tokens, most)
    }

    /// The wanted piece was appended.
    pub fn took(&mut self, piece: &Range<usize>) {
        self.walk.at = piece.end;
    }

    /// What is handed over next is complete. At the end of the states the checksum comes, and then nothing.
    pub fn close_piece(&mut self, is_end: bool) {
        if is_end && self.piece.is_empty() && !self.is_summed {
            self.piece.extend_from_slice(&self.hash.clone().finish().to_le_bytes());
            self.is_summed = true;
        } else {
            self.hash.push(&self.piece);
        }
    }
}

/// A saved sequence that is being read: it takes the place of another one as soon as the model is known to be the same.
pub struct Restoring {
    hash: Hash,
    /// Bytes of the unit under way: a part of the header, a token, a piece of a state, the checksum.
    held: Vec<u8>,
    /// Known with the first part of the header.
    header: Option<Header>,
    /// Known with its second part.
    count: Option<usize>,
    tokens: Vec<u32>,
    walk: Walk,
    /// A piece of a state is whole, and not in its place yet.
    pub is_waiting: bool,
    is_complete: bool,
}

/// What a saved sequence goes on with.
pub enum Unit {
    /// A piece of a state, to be put in its place.
    State(StateId, Range<usize>),
    /// Something that was read here.
    Own,
    /// Nothing: it was complete.
    End,
}

impl Restoring {
    pub fn new() -> Restoring {
        Restoring {
            hash: Hash::new(SEED),
            held: Vec::new(),
            header: None,
            count: None,
            tokens: Vec::new(),
            walk: Walk::default(),
            is_waiting: false,
            is_complete: false,
        }
    }

    /// What comes next, and of how many bytes it is. Pieces of states have at most `most`.
    pub fn next(&mut self, layout: &Layout, most: usize) -> (Unit, usize) {
        match self.count {
            None => match &self.header {
                None => (Unit::Own, HEADER_BYTES),
                Some(header) => (Unit::Own, header.adapters * ADAPTER_BYTES + CHECKSUM_BYTES),
            },
            Some(count) if self.tokens.len() < count => (Unit::Own, 4),
            Some(_) if self.is_complete => (Unit::End, 0),
            Some(count) => match self.walk.next(layout, count, most) {
                Some((state, piece)) => {
                    let bytes = piece.len();
                    (Unit::State(state, piece), bytes)
                }
                None => (Unit::Own, CHECKSUM_BYTES),
            },
        }
    }

    /// Takes bytes of the unit that has `needed` in all; how many. True once it is whole.
    pub fn hold(&mut self, bytes: &[u8], needed: usize) -> Result<(usize, bool)> {
        let count = bytes.len().min(needed - self.held.len());
        if self.held.capacity() < needed {
            self.held.try_reserve_exact(needed - self.held.len()).map_err(|_| {
                ChordError::new(ErrorCode::OutOfMemory, format!("no memory for {needed} bytes of a saved sequence"))
                    .with("bytes", needed)
            })?;
        }
        self.held.extend_from_slice(&bytes[..count]);
        Ok((count, self.held.len() == needed))
    }

    /// The bytes of the unit under way.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// How many positions its states have.
    pub fn positions(&self) -> usize {
        self.count.unwrap_or_default()
    }

    /// The piece of a state is in its place.
    pub fn placed(&mut self, piece: &Range<usize>) {
        self.walk.at = piece.end;
        self.is_waiting = false;
        self.pass_on();
    }

    fn pass_on(&mut self) {
        self.hash.push(&self.held);
        self.held.clear();
    }

    /// Reads a unit of its own, which is whole. Refused is what is damaged or was computed by another model or build.
    /// `knows` says whether a fingerprint is that of this model and build with these adapters.
    pub fn read_own(
        &mut self,
        knows: impl FnOnce(u64, &[Used]) -> bool,
        layout: &Layout,
        vocabulary: usize,
    ) -> Result<()> {
        let Some(header) = &self.header else {
            self.header = Some(Header::read(&self.held)?);
            self.pass_on();
            return Ok(());
        };
        let Some(count) = self.count else {
            self.count = Some(header.check(&self.held, knows, layout)?);
            self.pass_on();
            return Ok(());
        };
        let mut unit = self.held.as_slice();
        if self.tokens.len() < count {
            let token = u32::from_le_bytes(take(&mut unit));
            if token as usize >= vocabulary {
                return Err(damaged());
            }
            self.tokens.push(token);
            self.pass_on();
            return Ok(());
        }
        if u64::from_le_bytes(take(&mut unit)) != self.hash.clone().finish() {
            return Err(damaged());
        }
        self.held.clear();
        self.is_complete = true;
        Ok(())
    }

    /// Its tokens, once all of it was there.
    pub fn finish(self) -> Result<Vec<u32>> {
        match (self.is_complete, self.header) {
            (true, _) => Ok(self.tokens),
            (false, None) if !MAGIC.starts_with(&self.held[..self.held.len().min(MAGIC.len())]) => Err(foreign()),
            (false, _) => Err(refused("truncated", "the saved sequence ends early")),
        }
    }
}

/// What comes before the adapters.
struct Header {
    /// Its hash so far.
    sum: Hash,
    fingerprint: u64,
    tokens: usize,
    state_bytes: u64,
    adapters: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header> {
        let mut rest = bytes;
        if take::<8>(&mut rest) != *MAGIC {
            return Err(foreign());
        }
        let version = u32::from_le_bytes(take(&mut rest));
        if version != VERSION {
            let text = format!("the saved sequence has version {version}; {VERSION} is understood");
            return Err(refused("version", text));
        }
        let mut sum = Hash::new(SEED);
        sum.push(bytes);
        let fingerprint = u64::from_le_bytes(take(&mut rest));
        let tokens = u32::from_le_bytes(take(&mut rest)) as usize;
        let state_bytes = u64::from_le_bytes(take(&mut rest));
        let adapters = u32::from_le_bytes(take(&mut rest)) as usize;
        if adapters > ADAPTERS_MAX {
            return Err(damaged());
        }
        Ok(Header { sum, fingerprint, tokens, state_bytes, adapters })
    }

    /// How many tokens follow it, once its second part, the adapters and the checksum, is there.
    fn check(&self, rest: &[u8], knows: impl FnOnce(u64, &[Used]) -> bool, layout: &Layout) -> Result<usize> {
        let (adapters, mut checksum) = rest.split_at(self.adapters * ADAPTER_BYTES);
        let mut sum = self.sum.clone();
        sum.push(adapters);
        if u64::from_le_bytes(take(&mut checksum)) != sum.finish() {
            return Err(damaged());
        }
        let used =
            |mut adapter: &[u8]| (u64::from_le_bytes(take(&mut adapter)), f32::from_le_bytes(take(&mut adapter)));
        let used: Vec<Used> = adapters.chunks_exact(ADAPTER_BYTES).map(used).collect();
        if !knows(self.fingerprint, &used) {
            let text =
                "the saved sequence was computed by another model or build, or with another kvCache or other adapters";
            return Err(refused("model", text));
        }
        let (count, have) = (self.tokens, layout.context);
        if count > have {
            let text = format!("{count} saved tokens do not fit the context of {have}");
            return Err(ChordError::new(ErrorCode::ContextOverflow, text).with("need", count).with("have", have));
        }
        if self.state_bytes != layout.bytes(count) as u64 {
            return Err(refused("model", "the saved sequence has a state of another shape"));
        }
        Ok(count)
    }
}

fn foreign() -> ChordError {
    refused("foreign", "these bytes are no saved sequence")
}

/// The error of bytes that were changed on their way.
pub fn damaged() -> ChordError {
    refused("damaged", "the saved sequence is damaged")
}

fn refused(reason: &str, message: impl Into<String>) -> ChordError {
    ChordError::new(ErrorCode::InvalidState, message).with("reason", reason)
}

/// The next bytes, which are there.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (now, later) = rest.split_at(N);
    *rest = later;
    std::array::from_fn(|i| now[i])
}

/// Where a hash begins.
pub const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// Joins bytes to a hash, eight at a time. Each step can be undone, so that a change of eight neighbouring bytes
/// is always noticed.
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    let mut whole = Hash::new(hash);
    whole.push(bytes);
    whole.finish()
}

/// The same of bytes that come in pieces.
#[derive(Clone)]
struct Hash {
    hash: u64,
    /// Bytes that do not make a word yet.
    rest: [u8; 8],
    /// Bytes in all.
    bytes: u64,
}

impl Hash {
    fn new(seed: u64) -> Hash {
        Hash { hash: seed, rest: [0; 8], bytes: 0 }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn push(&mut self, bytes: &[u8]) {
        let held = (self.bytes % 8) as usize;
        self.bytes += bytes.len() as u64;
        let (first, bytes) = bytes.split_at(if held == 0 { 0 } else { bytes.len().min(8 - held) });
        self.rest[held..][..first.len()].copy_from_slice(first);
        if !first.is_empty() {
            if held + first.len() < 8 {
                return;
            }
            self.mix(u64::from_le_bytes(self.rest));
        }
        let mut words = bytes.chunks_exact(8);
        for mut word in words.by_ref() {
            self.mix(u64::from_le_bytes(take(&mut word)));
        }
        let last = words.remainder();
        self.rest[..last.len()].copy_from_slice(last);
    }

    fn finish(mut self) -> u64 {
        self.rest[(self.bytes % 8) as usize..].fill(0);
        self.mix(u64::from_le_bytes(self.rest));
        self.mix(self.bytes);
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_in_pieces() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(37)).collect();
        for length in 0..bytes.len() {
            let whole = fold(SEED, &bytes[..length]);
            for step in 1..20 {
                let mut hash = Hash::new(SEED);
                bytes[..length].chunks(step).for_each(|piece| hash.push(piece));
                assert_eq!(hash.finish(), whole, "{length} bytes in steps of {step}");
            }
            assert_ne!(whole, fold(SEED, &bytes[..length + 1]));
        }
    }
}
