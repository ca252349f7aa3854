//! The cache of keys and values, which grows with the sequence.

use super::memory::zeroed;
use super::vector;
use crate::error::Result;
use crate::program::{Kv, KvFormat, State, StateId};
use crate::state::spans;
use std::ops::Range;

/// One layer's keys, then its values, as [`crate::state::Layout`] says: `[head][position]` with a row each.
#[derive(Default)]
struct Layer {
    /// None for a state of another kind.
    kv: Option<Kv>,
    /// Positions that there are cells for.
    room: usize,
    /// Pairs of bytes: the bits of f16 values, or rows of integers.
    cells: Vec<u16>,
}

/// Rows of one head, one after the other, as they are kept.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// Bits of f16 values.
    F16(&'a [u16]),
    /// Rows as [`vector::q8_0`] makes them.
    Q8_0(&'a [u8]),
}

/// Positions that there is room for at first; then it doubles, so that what is copied on the way is less than what there
/// is room for in the end.
const ROOM_MIN: usize = 256;

/// Keys and values of every layer for up to `context` positions.
pub struct KvCache {
    layers: Vec<Layer>,
    context: usize,
}

impl KvCache {
    /// An empty cache of these states.
    pub fn new(states: &[State], context: usize) -> Result<KvCache> {
        let layer = |state: &State| match *state {
            State::Kv(kv) => {
                let room = ROOM_MIN.min(context);
                Ok(Layer { kv: Some(kv), room, cells: cells(kv, room)? })
            }
            State::Conv { .. } | State::Recurrent { .. } => Ok(Layer { room: context, ..Layer::default() }),
        };
        Ok(KvCache { layers: states.iter().map(layer).collect::<Result<_>>()?, context })
    }

    /// Makes room for so many positions. Layers that have got room before memory ran out keep it.
    pub fn reserve(&mut self, positions: usize) -> Result<()> {
        let context = self.context;
        for layer in &mut self.layers {
            layer.grow(positions, context)?;
        }
        Ok(())
    }

    /// Takes the first positions of another cache of the same states.
    pub fn copy(&mut self, other: &KvCache, positions: usize) -> Result<()> {
        self.reserve(positions)?;
        self.layers.iter_mut().zip(&other.layers).for_each(|(layer, other)| layer.copy(other, positions));
        Ok(())
    }

    /// Positions that a state has room for.
    pub fn room(&self, state: StateId) -> usize {
        self.layers[state.0 as usize].room
    }

    /// Bytes of all keys and values, as far as there is room for them.
    pub fn held_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| size_of_val(layer.cells.as_slice()) as u64).sum()
    }

    /// Stores a batch's keys and values (token-major f32) at `position` and after, for which there is room.
    pub fn write(&mut self, state: StateId, position: usize, key: &[f32], value: &[f32]) {
        let layer = &mut self.layers[state.0 as usize];
        let (kv, room) = (layer.kv(), layer.room);
        let (keys, values) = layer.cells.split_at_mut(kv.heads * room * kv.key_bytes() / 2);
        let (key_row, value_row) = (kv.key_bytes() / 2, kv.value_bytes() / 2);
        for (source, cells, dim, row) in [(key, keys, kv.key_dim, key_row), (value, values, kv.value_dim, value_row)] {
            for (index, source) in source.chunks_exact(dim).enumerate() {
                let (token, head) = (index / kv.heads, index % kv.heads);
                let cells = &mut cells[(head * room + position + token) * row..][..row];
                match kv.format {
                    KvFormat::F16 => vector::to_f16(source, cells),
                    KvFormat::Q8_0 => vector::q8_0::quantise(source, bytemuck::cast_slice_mut(cells)),
                }
            }
        }
    }

    /// The values of a state's keys, then of its values, as these bytes of it have them.
    #[cfg(feature = "gpu")]
    pub fn decode(&self, state: StateId, bytes: &[u8]) -> Vec<f32> {
        let layer = &self.layers[state.0 as usize];
        let kv = layer.kv();
        let (keys, values) = bytes.split_at(kv.heads * layer.room * kv.key_bytes());
        let mut decoded = Vec::new();
        for (rows, dim) in [(keys, kv.key_dim), (values, kv.value_dim)] {
            let mut row = vec![0.0; dim];
            for bytes in rows.chunks_exact(kv.format.row_bytes(dim)) {
                match kv.format {
                    KvFormat::F16 => {
                        let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
                        vector::from_f16(&halves, &mut row);
                    }
                    KvFormat::Q8_0 => vector::q8_0::dequantise(bytes, &mut row),
                }
                decoded.extend_from_slice(&row);
            }
        }
        decoded
    }

    /// The bytes of a state.
    #[cfg(feature = "gpu")]
    pub fn bytes(&self, state: StateId) -> &[u8] {
        bytemuck::cast_slice(&self.layers[state.0 as usize].cells)
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self, state: StateId) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.layers[state.0 as usize].cells)
    }

    /// Keys of one head at these positions.
    pub fn keys(&self, state: StateId, head: usize, positions: Range<usize>) -> Rows<'_> {
        let layer = &self.layers[state.0 as usize];
        layer.rows(head * layer.room * layer.kv().key_bytes(), layer.kv().key_bytes(), positions)
    }

    /// Values of one head.
    pub fn values(&self, state: StateId, head: usize, positions: Range<usize>) -> Rows<'_> {
        let layer = &self.layers[state.0 as usize];
        let Kv { heads, .. } = layer.kv();
        let (key, value) = (layer.kv().key_bytes(), layer.kv().value_bytes());
        layer.rows(layer.room * (heads * key + head * value), value, positions)
    }
}

/// Cells of so many positions.
fn cells(kv: Kv, positions: usize) -> Result<Vec<u16>> {
    zeroed((kv.position_bytes() / 2).saturating_mul(positions))
}

impl Layer {
    fn kv(&self) -> Kv {
        self.kv.expect("a state of keys and values")
    }

    /// Rows of so many bytes each, of a head that begins at a byte.
    fn rows(&self, first: usize, row: usize, positions: Range<usize>) -> Rows<'_> {
        let cells = &self.cells[(first + positions.start * row) / 2..(first + positions.end * row) / 2];
        match self.kv().format {
            KvFormat::F16 => Rows::F16(cells),
            KvFormat::Q8_0 => Rows::Q8_0(bytemuck::cast_slice(cells)),
        }
    }

    /// Makes room for so many positions of at most `context`.
    fn grow(&mut self, positions: usize, context: usize) -> Result<()> {
        let Some(kv) = self.kv.filter(|_| positions > self.room) else { return Ok(()) };
        let room = positions.next_power_of_two().min(context);
        let mut grown = Layer { kv: self.kv, room, cells: cells(kv, room)? };
        grown.copy(self, self.room);
        *self = grown;
        Ok(())
    }

    /// Takes the rows of the first positions of another layer of the same kind; there is room for them.
    fn copy(&mut self, other: &Layer, positions: usize) {
        let Some(kv) = self.kv else { return };
        let (to, from) = (spans(kv, self.room, 0..positions), spans(kv, other.room, 0..positions));
        for (to, from) in to.zip(from) {
            self.cells[to.start / 2..to.end / 2].copy_from_slice(&other.cells[from.start / 2..from.end / 2]);
        }
    }
}

impl Rows<'_> {
    /// The products of queries with keys of `width` values; see [`vector::dots`].
    #[allow(clippy::too_many_arguments)]
    pub fn dots(self, width: usize, query: &[f32], rows: &[usize], factor: f32, scores: &mut [f32], stride: usize) {
        match self {
            Rows::F16(keys) => vector::dots(keys, width, query, rows, factor, scores, stride),
            Rows::Q8_0(keys) => vector::q8_0::dots(keys, width, query, rows, factor, scores, stride),
        }
    }

    /// Adds values of `width` values times their weights; see [`vector::add_weighted`].
    pub fn add_weighted(self, width: usize, weights: &[f32], stride: usize, sums: &mut [f32], rows: &[usize]) {
        match self {
            Rows::F16(values) => vector::add_weighted(values, width, weights, stride, sums, rows),
            Rows::Q8_0(values) => vector::q8_0::add_weighted(values, width, weights, stride, sums, rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| ((i as f32 + 1.0) * seed).sin()).collect()
    }

    #[test]
    fn what_was_written_is_there_when_the_cache_has_grown() {
        for format in [KvFormat::F16, KvFormat::Q8_0] {
            let kv = Kv { format, ..Kv::new(3, 64, 32) };
            let states = [State::Conv { width: 2, taps: 3 }, State::Kv(kv)];
            let (mut grown, mut whole) =
                (KvCache::new(&states, 1 << 50).expect("room"), KvCache::new(&states, 700).expect("room"));
            whole.reserve(700).expect("room");
            let (keys, vals) = (values(700 * 3 * 64, 0.731), values(700 * 3 * 32, 1.377));
            whole.write(StateId(1), 0, &keys, &vals);
            for tokens in (0..700).collect::<Vec<usize>>().chunks(50) {
                grown.reserve(tokens[0] + 50).expect("room");
                let (first, end) = (tokens[0], tokens[0] + 50);
                grown.write(StateId(1), first, &keys[first * 192..end * 192], &vals[first * 96..end * 96]);
            }
            assert_eq!((grown.room(StateId(1)), whole.room(StateId(1))), (1024, 700));
            let error = grown.reserve(1 << 49).expect_err("nobody has so much");
            assert_eq!(error.code, ErrorCode::OutOfMemory);
            for head in 0..3 {
                let bytes = |rows: Rows| match rows {
                    Rows::F16(cells) => bytemuck::cast_slice(cells).to_vec(),
                    Rows::Q8_0(bytes) => bytes.to_vec(),
                };
                for at in [0..1, 0..700, 699..700] {
                    let rows = |cache: &KvCache| {
                        (
                            bytes(cache.keys(StateId(1), head, at.clone())),
                            bytes(cache.values(StateId(1), head, at.clone())),
                        )
                    };
                    assert!(rows(&grown) == rows(&whole), "{format:?}, head {head}, {at:?}");
                }
            }
        }
    }
}
