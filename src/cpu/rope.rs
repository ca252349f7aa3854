//! Rotary position embedding with linear and YaRN scaling, as llama.cpp computes it.
//! <https://arxiv.org/abs/2104.09864>, <https://arxiv.org/abs/2309.00071>

use crate::op::{Rope, RopeStyle};
use std::f32::consts::PI;

/// The cosines and sines of one batch under one rotation: [token][dims / 2] pairs.
#[derive(Default)]
pub struct Rotation {
    pairs: Vec<(f32, f32)>,
    /// What the pairs were computed for: first position and tokens.
    computed: Option<(usize, usize)>,
}

impl Rotation {
    /// Computes the pairs for `tokens` positions from `position`, unless they are there already.
    pub fn prepare(&mut self, rope: &Rope, factors: Option<&[f32]>, position: usize, tokens: usize) {
        if self.computed == Some((position, tokens)) {
            return;
        }
        self.pairs.clear();
        let (low, high) = correction_range(rope);
        let magnitude = match rope.extrapolation {
            0.0 => rope.attention_factor,
            _ => rope.attention_factor * yarn_magnitude(rope),
        };
        for token in 0..tokens {
            for i in 0..rope.dims / 2 {
                let frequency = rope.base.powf(-2.0 * i as f32 / rope.dims as f32) / factors.map_or(1.0, |f| f[i]);
                let extrapolated = (position + token) as f32 * frequency;
                let interpolated = rope.frequency_scale * extrapolated;
                let angle = match rope.extrapolation {
                    0.0 => interpolated,
                    share => {
                        let ramp = 1.0 - ((i as f32 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                        let mix = ramp * share;
                        interpolated * (1.0 - mix) + extrapolated * mix
                    }
                };
                self.pairs.push((angle.cos() * magnitude, angle.sin() * magnitude));
            }
        }
        self.computed = Some((position, tokens));
    }

    /// Rotates `heads` heads of `head_dim` values in every row of `values`.
    pub fn rotate(&self, rope: &Rope, values: &mut [f32], heads: usize, head_dim: usize) {
        let half = rope.dims / 2;
        for (row, pairs) in values.chunks_exact_mut(heads * head_dim).zip(self.pairs.chunks_exact(half)) {
            for head in row.chunks_exact_mut(head_dim) {
                match rope.style {
                    RopeStyle::Interleaved => {
                        for (pair, &(cos, sin)) in head[..rope.dims].chunks_exact_mut(2).zip(pairs) {
                            (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos);
                        }
                    }
                    RopeStyle::Halves => {
                        let (first, second) = head[..rope.dims].split_at_mut(half);
                        for ((a, b), &(cos, sin)) in first.iter_mut().zip(second).zip(pairs) {
                            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                        }
                    }
                }
            }
        }
    }
}

/// llama.cpp cancels ggml's factor 1 + 0.1·ln(s) and applies the one of the paper; both are equal for
/// s > 1, and a scale of at most 1 leaves the magnitude at 1.
fn yarn_magnitude(rope: &Rope) -> f32 {
    let scale = 1.0 / rope.frequency_scale;
    if scale <= 1.0 { 1.0 } else { 0.1 * scale.ln() + 1.0 }
}

/// Dimensions between which YaRN goes from extrapolation to interpolation.
fn correction_range(rope: &Rope) -> (f32, f32) {
    let dims = rope.dims as f32;
    let dimension =
        |rotations: f32| dims * (rope.original_context / (rotations * 2.0 * PI)).ln() / (2.0 * rope.base.ln());
    (dimension(rope.beta_fast).floor().max(0.0), dimension(rope.beta_slow).ceil().min(dims - 1.0))
}
