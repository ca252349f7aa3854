//! The cache of keys and values, sized once.

use super::memory::zeroed;
use super::vector;
use crate::error::Result;
use crate::program::{Kv, KvFormat, State, StateId};
use std::ops::Range;

/// One layer's keys, then its values, as [`crate::state::Layout`] says: `[head][position]` with a row each.
#[derive(Default)]
struct Layer {
    /// None for a state of another kind.
    kv: Option<Kv>,
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
                let cells = zeroed((kv.position_bytes() / 2).saturating_mul(context))?;
                Ok(Layer { kv: Some(kv), cells })
            }
            State::Conv { .. } | State::Recurrent { .. } => Ok(Layer::default()),
        };
        Ok(KvCache { layers: states.iter().map(layer).collect::<Result<_>>()?, context })
    }

    /// Stores a batch's keys and values (token-major f32) at `position` and after.
    pub fn write(&mut self, state: StateId, position: usize, key: &[f32], value: &[f32]) {
        let context = self.context;
        let (kv, cells) = self.layers[state.0 as usize].parts_mut();
        let (keys, values) = cells.split_at_mut(kv.heads * context * kv.key_bytes() / 2);
        for (source, cells, dim, row) in
            [(key, keys, kv.key_dim, kv.key_bytes()), (value, values, kv.value_dim, kv.value_bytes())]
        {
            for (index, source) in source.chunks_exact(dim).enumerate() {
                let (token, head) = (index / kv.heads, index % kv.heads);
                let cells = &mut cells[(head * context + position + token) * row / 2..][..row / 2];
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
        let (kv, _) = self.layers[state.0 as usize].parts();
        let (keys, values) = bytes.split_at(kv.heads * self.context * kv.key_bytes());
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
    pub fn bytes(&self, state: StateId) -> &[u8] {
        bytemuck::cast_slice(&self.layers[state.0 as usize].cells)
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self, state: StateId) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.layers[state.0 as usize].cells)
    }

    /// Keys of one head at these positions.
    pub fn keys(&self, state: StateId, head: usize, positions: Range<usize>) -> Rows<'_> {
        let (kv, cells) = self.layers[state.0 as usize].parts();
        self.rows(kv.format, cells, head, kv.key_bytes() / 2, positions)
    }

    /// Values of one head.
    pub fn values(&self, state: StateId, head: usize, positions: Range<usize>) -> Rows<'_> {
        let (kv, cells) = self.layers[state.0 as usize].parts();
        let values = &cells[kv.heads * self.context * kv.key_bytes() / 2..];
        self.rows(kv.format, values, head, kv.value_bytes() / 2, positions)
    }

    /// Rows of so many cells of one head.
    fn rows<'a>(
        &self,
        format: KvFormat,
        cells: &'a [u16],
        head: usize,
        row: usize,
        positions: Range<usize>,
    ) -> Rows<'a> {
        let first = head * self.context;
        let cells = &cells[(first + positions.start) * row..(first + positions.end) * row];
        match format {
            KvFormat::F16 => Rows::F16(cells),
            KvFormat::Q8_0 => Rows::Q8_0(bytemuck::cast_slice(cells)),
        }
    }
}

impl Layer {
    fn parts(&self) -> (Kv, &[u16]) {
        (self.kv.expect("a state of keys and values"), &self.cells)
    }

    fn parts_mut(&mut self) -> (Kv, &mut [u16]) {
        (self.kv.expect("a state of keys and values"), &mut self.cells)
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
