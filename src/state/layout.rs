//! Where states lie, the same in every backend: a state's keys, then its values, each `[head][position]` with a row of the
//! format that they are kept in; a state that holds the whole past as it is, in f32.

use crate::program::{Kv, Program, State, StateId};
use std::ops::Range;

/// The states of a sequence of up to `context` positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// By state.
    pub states: Vec<State>,
    /// Positions that there is room for.
    pub context: usize,
}

impl Layout {
    /// The layout of a program's states.
    pub fn new(program: &Program, context: usize) -> Layout {
        Layout { states: program.states.clone(), context }
    }

    /// All states.
    pub fn states(&self) -> impl Iterator<Item = StateId> + use<> {
        (0..self.states.len()).map(|number| StateId(number as u16))
    }

    /// Bytes of the first `positions` of all states.
    pub fn bytes(&self, positions: usize) -> usize {
        self.states().map(|state| self.state_bytes(state, positions)).sum()
    }

    /// Where these positions of a state lie in its memory, which has room for so many, as ranges of bytes in the order of
    /// a copy.
    pub fn spans(&self, state: StateId, room: usize, positions: Range<usize>) -> Vec<Range<usize>> {
        let State::Kv(kv) = self.states[state.0 as usize] else {
            return std::iter::once(0..self.state_bytes(state, positions.end)).filter(|all| !all.is_empty()).collect();
        };
        spans(kv, room, positions).collect()
    }

    /// Bytes of a state's first `positions`: a state that holds the whole past has none before there is one.
    pub fn state_bytes(&self, state: StateId, positions: usize) -> usize {
        match self.states[state.0 as usize] {
            State::Kv(kv) => kv.position_bytes() * positions,
            _ if positions == 0 => 0,
            ref fixed => fixed.fixed_values().saturating_mul(size_of::<f32>()),
        }
    }
}

/// Where these positions of keys and values lie in memory with room for so many.
pub fn spans(kv: Kv, room: usize, positions: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (key, value) = (kv.key_bytes(), kv.value_bytes());
    let span = move |from: usize, head: usize, row: usize| {
        let start = from + head * room * row;
        start + positions.start * row..start + positions.end * row
    };
    let values = kv.heads * room * key;
    (0..2 * kv.heads).map(move |run| match run.checked_sub(kv.heads) {
        None => span(0, run, key),
        Some(head) => span(values, head, value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::KvFormat;

    #[test]
    fn spans_are_the_positions_of_every_head_once() {
        let quantised = Kv { format: KvFormat::Q8_0, ..Kv::new(3, 64, 32) };
        let states = [Kv::new(2, 4, 6), Kv::new(1, 2, 2), quantised].map(State::Kv);
        let layout = Layout { states: states.to_vec(), context: 10 };
        assert_eq!(layout.spans(StateId(0), 10, 0..3), [0..24, 80..104, 160..196, 280..316]);
        assert_eq!(layout.spans(StateId(1), 10, 2..10), [8..40, 48..80]);
        for state in layout.states() {
            let bytes = |spans: Vec<Range<usize>>| spans.iter().map(|span| span.len()).sum::<usize>();
            assert_eq!(bytes(layout.spans(state, 10, 0..7)), layout.state_bytes(state, 7));
            let whole = layout.spans(state, 10, 0..10);
            assert!(whole.windows(2).all(|pair| pair[0].end == pair[1].start), "nothing lies between heads");
        }
        assert_eq!(layout.bytes(7), layout.states().map(|state| layout.state_bytes(state, 7)).sum::<usize>());
        assert_eq!(layout.spans(StateId(2), 10, 1..2)[2..4], [1428..1496, 2076..2112], "64 + 4 and 32 + 4 bytes a row");
    }

    #[test]
    fn a_state_of_one_size_is_whole_or_not_there() {
        let layout = Layout { states: vec![State::Conv { width: 2, taps: 3 }], context: 10 };
        assert_eq!((layout.bytes(0), layout.bytes(1), layout.bytes(10)), (0, 24, 24));
        assert!(layout.spans(StateId(0), 10, 0..0).is_empty());
        assert_eq!(layout.spans(StateId(0), 10, 0..3).first(), Some(&(0..24)));
    }
}
