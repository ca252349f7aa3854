//! Where states lie, the same in every backend: a state's keys, then its values, in f16, each
//! `[head][position][head width]`; a state that holds the whole past as it is, in f32.

use crate::program::{Op, Program, State, StateId};
use std::ops::Range;

/// Bytes of a key's or value's value.
const VALUE_BYTES: usize = 2;

/// The shape of one layer's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayer {
    /// Heads of keys, and as many of values.
    pub heads: usize,
    /// Values of a head of keys.
    pub key_dim: usize,
    /// Values of a head of values.
    pub value_dim: usize,
}

impl KvLayer {
    /// Bytes of `positions`.
    fn bytes(self, positions: usize) -> usize {
        self.heads * (self.key_dim + self.value_dim) * positions * VALUE_BYTES
    }
}

/// What a state takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Keys and values, so many for each position.
    Kv(KvLayer),
    /// So many bytes, whatever the position, once there is one.
    Fixed {
        /// All of it, in f32.
        bytes: usize,
    },
}

/// The states of a sequence of up to `context` positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// By state.
    pub layers: Vec<LayerState>,
    /// Positions that there is room for.
    pub context: usize,
}

impl Layout {
    /// The layout of a program's states.
    pub fn new(program: &Program, context: usize) -> Layout {
        let layer = |(number, state): (usize, &State)| {
            let State::Kv { key_width, value_width } = *state else {
                return LayerState::Fixed { bytes: state.fixed_values().saturating_mul(4) };
            };
            let heads = program.all_ops().find_map(|op| {
                let Op::KvWrite { state, head_dim, .. } = op else { return None };
                (state.0 as usize == number).then(|| key_width / head_dim)
            });
            let heads = heads.unwrap_or(1);
            LayerState::Kv(KvLayer { heads, key_dim: key_width / heads, value_dim: value_width / heads })
        };
        Layout { layers: program.states.iter().enumerate().map(layer).collect(), context }
    }

    /// All states.
    pub fn states(&self) -> impl Iterator<Item = StateId> + use<> {
        (0..self.layers.len()).map(|number| StateId(number as u16))
    }

    /// Bytes of the first `positions` of all states.
    pub fn bytes(&self, positions: usize) -> usize {
        self.states().map(|state| self.state_bytes(state, positions)).sum()
    }

    /// Where these positions of a state lie in its memory, as ranges of bytes in the order of a copy.
    pub fn spans(&self, state: StateId, positions: Range<usize>) -> Vec<Range<usize>> {
        let KvLayer { heads, key_dim, value_dim } = match self.layers[state.0 as usize] {
            LayerState::Kv(layer) => layer,
            LayerState::Fixed { bytes } if positions.end > 0 => return std::iter::once(0..bytes).collect(),
            LayerState::Fixed { .. } => return Vec::new(),
        };
        let span = |from: usize, head: usize, dim: usize| {
            let start = from + head * self.context * dim;
            VALUE_BYTES * (start + positions.start * dim)..VALUE_BYTES * (start + positions.end * dim)
        };
        let values = heads * self.context * key_dim;
        let keys = (0..heads).map(|head| span(0, head, key_dim));
        keys.chain((0..heads).map(|head| span(values, head, value_dim))).collect()
    }

    /// Bytes of a state's first `positions`.
    pub fn state_bytes(&self, state: StateId, positions: usize) -> usize {
        match self.layers[state.0 as usize] {
            LayerState::Kv(layer) => layer.bytes(positions),
            LayerState::Fixed { bytes } => {
                if positions > 0 {
                    bytes
                } else {
                    0
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_the_positions_of_every_head_once() {
        let layers = [KvLayer { heads: 2, key_dim: 4, value_dim: 6 }, KvLayer { heads: 1, key_dim: 2, value_dim: 2 }];
        let layout = Layout { layers: layers.map(LayerState::Kv).to_vec(), context: 10 };
        assert_eq!(layout.spans(StateId(0), 0..3), [0..24, 80..104, 160..196, 280..316]);
        assert_eq!(layout.spans(StateId(1), 2..10), [8..40, 48..80]);
        for state in layout.states() {
            let bytes = |spans: Vec<Range<usize>>| spans.iter().map(|span| span.len()).sum::<usize>();
            assert_eq!(bytes(layout.spans(state, 0..7)), layout.state_bytes(state, 7));
            let whole = layout.spans(state, 0..10);
            assert!(whole.windows(2).all(|pair| pair[0].end == pair[1].start), "nothing lies between heads");
        }
        assert_eq!(layout.bytes(7), layout.state_bytes(StateId(0), 7) + layout.state_bytes(StateId(1), 7));
    }

    #[test]
    fn a_state_of_one_size_is_whole_or_not_there() {
        let layout = Layout { layers: vec![LayerState::Fixed { bytes: 24 }], context: 10 };
        assert_eq!((layout.bytes(0), layout.bytes(1), layout.bytes(10)), (0, 24, 24));
        assert!(layout.spans(StateId(0), 0..0).is_empty());
        assert_eq!(layout.spans(StateId(0), 0..3).first(), Some(&(0..24)));
    }
}
