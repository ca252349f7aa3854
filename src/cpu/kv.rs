//! The cache of keys and values, in f16, sized once.

use super::memory::zeroed;
use crate::error::Result;
use crate::program::{State, StateId};

/// One layer's keys, then its values, as [`crate::state::Layout`] says: `[head][position][head width]`.
struct Layer {
    /// Bits of f16 values.
    cells: Vec<u16>,
    key_width: usize,
    value_width: usize,
}

/// Keys and values of every layer for up to `context` positions.
pub struct KvCache {
    layers: Vec<Layer>,
    context: usize,
}

impl KvCache {
    /// An empty cache of these states.
    pub fn new(states: &[State], context: usize) -> Result<KvCache> {
        let layer = |state: &State| -> Result<Layer> {
            let (key_width, value_width) = state.kv_widths();
            let cells = zeroed((key_width + value_width).saturating_mul(context))?;
            Ok(Layer { cells, key_width, value_width })
        };
        Ok(KvCache { layers: states.iter().map(layer).collect::<Result<_>>()?, context })
    }

    /// Stores a batch's keys and values (token-major f32) at `position` and after.
    pub fn write(
        &mut self,
        state: StateId,
        position: usize,
        tokens: usize,
        key: &[f32],
        value: &[f32],
        head_dim: usize,
    ) {
        let context = self.context;
        let layer = &mut self.layers[state.0 as usize];
        let heads = layer.key_width / head_dim;
        let value_dim = layer.value_width / heads;
        let (keys, values) = layer.cells.split_at_mut(layer.key_width * context);
        for token in 0..tokens {
            let at = position + token;
            for head in 0..heads {
                let source = &key[token * layer.key_width + head * head_dim..][..head_dim];
                super::vector::to_f16(source, &mut keys[(head * context + at) * head_dim..][..head_dim]);
                let source = &value[token * layer.value_width + head * value_dim..][..value_dim];
                super::vector::to_f16(source, &mut values[(head * context + at) * value_dim..][..value_dim]);
            }
        }
    }

    /// A state's keys, then its values, as bits of f16.
    #[cfg(feature = "gpu")]
    pub fn state(&self, state: StateId) -> impl Iterator<Item = u16> + '_ {
        self.layers[state.0 as usize].cells.iter().copied()
    }

    /// The bytes of a state.
    pub fn bytes(&self, state: StateId) -> &[u8] {
        bytemuck::cast_slice(&self.layers[state.0 as usize].cells)
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self, state: StateId) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.layers[state.0 as usize].cells)
    }

    /// Keys of one head, `[position][head_dim]`, for all positions.
    pub fn keys(&self, state: StateId, head: usize, head_dim: usize) -> &[u16] {
        &self.layers[state.0 as usize].cells[head * self.context * head_dim..][..self.context * head_dim]
    }

    /// Values of one head, `[position][value_dim]`.
    pub fn values(&self, state: StateId, head: usize, value_dim: usize) -> &[u16] {
        let Layer { cells, key_width, .. } = &self.layers[state.0 as usize];
        &cells[(key_width + head * value_dim) * self.context..][..self.context * value_dim]
    }
}
