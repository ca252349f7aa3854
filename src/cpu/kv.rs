//! The cache of keys and values, in f16, sized once.

use super::memory::zeroed;
use crate::error::Result;

/// One layer's keys and values. Each head's positions lie together: [head][position][head width].
struct Layer {
    /// Bits of f16 values.
    keys: Vec<u16>,
    values: Vec<u16>,
    key_width: usize,
    value_width: usize,
}

/// Keys and values of every layer for up to `context` positions.
pub struct KvCache {
    layers: Vec<Layer>,
    context: usize,
}

impl KvCache {
    /// Bytes of a cache for layers of these key and value widths (values per token), in 64 bits.
    pub fn bytes(widths: &[(usize, usize)], context: usize) -> u64 {
        widths.iter().map(|(k, v)| (*k as u64 + *v as u64) * context as u64 * 2).sum()
    }

    /// An empty cache.
    pub fn new(widths: &[(usize, usize)], context: usize) -> Result<KvCache> {
        let layer = |&(key_width, value_width): &(usize, usize)| -> Result<Layer> {
            let size = |width: usize| width.saturating_mul(context);
            Ok(Layer { keys: zeroed(size(key_width))?, values: zeroed(size(value_width))?, key_width, value_width })
        };
        Ok(KvCache { layers: widths.iter().map(layer).collect::<Result<_>>()?, context })
    }

    /// Stores a batch's keys and values (token-major f32) at `position` and after.
    pub fn write(&mut self, layer: usize, position: usize, tokens: usize, key: &[f32], value: &[f32], head_dim: usize) {
        let context = self.context;
        let layer = &mut self.layers[layer];
        let heads = layer.key_width / head_dim;
        let value_dim = layer.value_width / heads;
        for token in 0..tokens {
            let at = position + token;
            for head in 0..heads {
                let source = &key[token * layer.key_width + head * head_dim..][..head_dim];
                super::vector::to_f16(source, &mut layer.keys[(head * context + at) * head_dim..][..head_dim]);
                let source = &value[token * layer.value_width + head * value_dim..][..value_dim];
                super::vector::to_f16(source, &mut layer.values[(head * context + at) * value_dim..][..value_dim]);
            }
        }
    }

    /// A layer's keys, then its values, as bits of f16: [head][position][head width].
    #[cfg(feature = "gpu")]
    pub fn layer(&self, layer: usize) -> impl Iterator<Item = u16> + '_ {
        let Layer { keys, values, .. } = &self.layers[layer];
        keys.iter().chain(values).copied()
    }

    /// Keys of one head, [position][head_dim], for all positions.
    pub fn keys(&self, layer: usize, head: usize, head_dim: usize) -> &[u16] {
        &self.layers[layer].keys[head * self.context * head_dim..][..self.context * head_dim]
    }

    /// Values of one head, [position][value_dim].
    pub fn values(&self, layer: usize, head: usize, value_dim: usize) -> &[u16] {
        &self.layers[layer].values[head * self.context * value_dim..][..self.context * value_dim]
    }
}
