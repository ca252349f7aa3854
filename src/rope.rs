//! Rotary position embedding with linear and YaRN scaling, as llama.cpp computes it.
//! <https://arxiv.org/abs/2104.09864>, <https://arxiv.org/abs/2309.00071>

use crate::program::{Rope, RopeStyle};
use std::f32::consts::PI;

/// The cosines and sines of one batch under one rotation: [token][dims / 2] pairs.
#[derive(Default)]
pub struct Rotation {
    pairs: Vec<(f32, f32)>,
    /// What the pairs were computed for: the position of each token.
    computed: Vec<usize>,
}

impl Rotation {
    /// Computes the pairs for tokens at these positions, unless they are there already.
    pub fn prepare(&mut self, rope: &Rope, factors: Option<&[f32]>, positions: impl Iterator<Item = usize> + Clone) {
        if self.computed.iter().copied().eq(positions.clone()) {
            return;
        }
        self.computed.clear();
        self.computed.extend(positions);
        self.pairs.clear();
        let (low, high) = correction_range(rope);
        let magnitude = match rope.extrapolation {
            0.0 => rope.attention_factor,
            _ => rope.attention_factor * yarn_magnitude(rope),
        };
        for position in &self.computed {
            for i in 0..rope.dims / 2 {
                let frequency = rope.base.powf(-2.0 * i as f32 / rope.dims as f32) / factors.map_or(1.0, |f| f[i]);
                let extrapolated = *position as f32 * frequency;
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
    }

    /// What was computed: [token][dims / 2] of cosine and sine.
    #[cfg(feature = "gpu")]
    pub fn pairs(&self) -> &[(f32, f32)] {
        &self.pairs
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn rope(style: RopeStyle) -> Rope {
        Rope {
            dims: 16,
            style,
            base: 10_000.0,
            frequency_scale: 1.0,
            extrapolation: 0.0,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_context: 64.0,
            factors: None,
        }
    }

    /// The angle and magnitude of pair `i`, written from the papers in f64.
    fn expected(rope: &Rope, factors: Option<&[f32]>, position: usize, i: usize) -> (f64, f64) {
        let frequency =
            f64::from(rope.base).powf(-2.0 * i as f64 / rope.dims as f64) / factors.map_or(1.0, |f| f64::from(f[i]));
        let extrapolated = position as f64 * frequency;
        let interpolated = extrapolated * f64::from(rope.frequency_scale);
        if rope.extrapolation == 0.0 {
            return (interpolated, f64::from(rope.attention_factor));
        }
        // The pair whose wave turns `n` times over the original context.
        let turning = |n: f32| {
            rope.dims as f64 * (f64::from(rope.original_context) / (f64::from(n) * TAU)).ln()
                / (2.0 * f64::from(rope.base).ln())
        };
        let (low, high) =
            (turning(rope.beta_fast).floor().max(0.0), turning(rope.beta_slow).ceil().min(rope.dims as f64 - 1.0));
        let share =
            (1.0 - ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0)) * f64::from(rope.extrapolation);
        let magnitude = f64::from(rope.attention_factor) * (0.1 * (1.0 / f64::from(rope.frequency_scale)).ln() + 1.0);
        (interpolated * (1.0 - share) + extrapolated * share, magnitude)
    }

    #[test]
    fn rotations_follow_the_papers() {
        let factors: Vec<f32> = (0..8).map(|i| 1.0 + i as f32 / 4.0).collect();
        for style in [RopeStyle::Interleaved, RopeStyle::Halves] {
            let linear = Rope { frequency_scale: 0.25, ..rope(style) };
            let yarn = Rope { frequency_scale: 0.125, extrapolation: 1.0, attention_factor: 0.9, ..rope(style) };
            for (rope, factors) in
                [(rope(style), None), (linear, None), (yarn, None), (rope(style), Some(factors.as_slice()))]
            {
                // Two heads of 20 values, of which 16 rotate, at positions 7, 8 and 9.
                let before: Vec<f32> = (0..3 * 2 * 20).map(|v| (v as f32 * 0.37).sin()).collect();
                let mut after = before.clone();
                let mut rotation = Rotation::default();
                rotation.prepare(&rope, factors, 7..10);
                rotation.rotate(&rope, &mut after, 2, 20);
                for (index, (before, after)) in before.chunks(20).zip(after.chunks(20)).enumerate() {
                    for i in 0..8 {
                        let (angle, magnitude) = expected(&rope, factors, 7 + index / 2, i);
                        let (a, b) = if style == RopeStyle::Interleaved { (2 * i, 2 * i + 1) } else { (i, i + 8) };
                        let (x, y) = (f64::from(before[a]), f64::from(before[b]));
                        let rotated = (
                            magnitude * (x * angle.cos() - y * angle.sin()),
                            magnitude * (x * angle.sin() + y * angle.cos()),
                        );
                        assert!(
                            (rotated.0 - f64::from(after[a])).abs() < 1e-5
                                && (rotated.1 - f64::from(after[b])).abs() < 1e-5
                        );
                    }
                    assert_eq!(before[16..], after[16..], "what does not rotate passes through");
                }
            }
        }
    }
}
