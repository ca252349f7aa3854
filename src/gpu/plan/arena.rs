//! Where activations lie: one buffer for all slots.

use super::SPLITS_MAX;
use crate::exec::Draw;
use crate::gpu::kernels::{HALF_WORDS, INTEGER_WORDS, SEGMENTS_MAX};
use crate::program::*;

/// Where activations lie in the arena, in quads of f32.
pub struct Arena {
    /// Slot 0 comes last, since it grows.
    pub slots: Vec<u32>,
    /// Quads of a row of each slot.
    pub strides: Vec<u32>,
    /// The batch's token numbers, one f32 each. The first is where the sampler leaves its token.
    pub tokens: u32,
    /// Cosines and sines of each rotation.
    pub tables: Vec<u32>,
    pub partials: u32,
    /// A quad for each group: whether it made values that are not finite.
    pub flags: u32,
    pub result: u32,
    /// The best tokens of each segment of the vocabulary.
    pub candidates: u32,
    /// Quads before the residual stream.
    pub fixed: u32,
}

impl Arena {
    /// Places slots for batches of `batch` tokens.
    pub fn new(program: &Program, batch: usize) -> Arena {
        let mut end = 0;
        let mut take = |quads: usize| {
            let start = end;
            end += quads.next_multiple_of(16);
            start as u32
        };
        // Rows are whole chunks, and what lies behind a value is zero.
        let strides: Vec<usize> = program.slots.iter().map(|w| w.next_multiple_of(32) / 4).collect();
        let tokens = take(batch.div_ceil(4));
        let flags = take(program.groups.len());
        let tables = program.ropes.iter().map(|r| take((batch * r.dims).div_ceil(4))).collect();
        let mut partials = 0;
        for op in program.all_ops() {
            if let Op::Attention { state, heads, kv_heads, .. } = *op {
                let value_dim = program[state].kv_widths().1 / kv_heads;
                partials = partials.max(heads * SPLITS_MAX * partial_stride(value_dim));
            }
        }
        let partials = take(partials);
        let candidates = take(segments(program[program.outputs.logits]).0 * Draw::TOP_K_MAX as usize);
        let mut slots = vec![0];
        for (slot, stride) in strides.iter().enumerate().skip(1) {
            let rows = if slot == program.outputs.logits.0 as usize { 1 } else { batch };
            slots.push(take(rows * stride));
        }
        slots[0] = take(0);
        Arena {
            fixed: slots[0],
            slots,
            strides: strides.into_iter().map(|s| s as u32).collect(),
            tokens,
            tables,
            partials,
            flags,
            result: tokens,
            candidates,
        }
    }

    /// Bytes with room for `rows` rows of the residual stream.
    pub fn bytes(&self, rows: usize) -> usize {
        (self.fixed as usize + rows * self.strides[0] as usize) * 16
    }
}

/// Tokens of a segment of the vocabulary that one workgroup samples from, where they make no more of them than
/// the next kernel has invocations.
const SEGMENT_TOKENS: usize = 512;

/// Segments of the vocabulary, for sampling, and the tokens of each, a multiple of four.
pub fn segments(vocabulary: usize) -> (usize, usize) {
    let segments = vocabulary.div_ceil(SEGMENT_TOKENS).clamp(1, SEGMENTS_MAX as usize);
    (segments, vocabulary.div_ceil(segments).next_multiple_of(4))
}

/// Bytes of the activations that are prepared for tiles: the widest source of a matrix, for a whole batch, in
/// the larger of the two arithmetics.
pub fn prepared_bytes(program: &Program, batch: usize) -> usize {
    let matrices = program.weights.iter().filter(|w| w.is_matrix);
    matrices.map(|w| w.columns.div_ceil(32)).max().unwrap_or(0)
        * batch.div_ceil(4)
        * HALF_WORDS.max(4 * INTEGER_WORDS) as usize
        * 4
}

/// Quads of one split's result: maximum and sum, then the values.
pub(super) fn partial_stride(value_dim: usize) -> usize {
    1 + value_dim.div_ceil(4)
}
