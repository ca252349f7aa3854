//! Norms over rows or heads: RMS norm, x / sqrt(mean(x²) + ε) · w, <https://arxiv.org/abs/1910.07467>, and
//! layer norm, (x − mean) / sqrt(variance + ε) · w + b, <https://arxiv.org/abs/1607.06450>.

use crate::program::Norm;

/// How every `width` values are normalised. Weight and bias are of so many values, or of a multiple: then each
/// run has a part of its own.
pub struct Normalise<'a> {
    pub kind: Norm,
    pub weight: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
    pub width: usize,
    pub epsilon: f32,
}

impl Normalise<'_> {
    /// Normalises `src` into `dst`.
    pub fn run(&self, src: &[f32], dst: &mut [f32]) {
        match (self.kind, self.weight, self.bias) {
            (Norm::Rms, Some(weight), None) if weight.len() == self.width => {
                for (src, dst) in src.chunks_exact(self.width).zip(dst.chunks_exact_mut(self.width)) {
                    let scale = scale(src, self.epsilon);
                    for ((d, s), w) in dst.iter_mut().zip(src).zip(weight) {
                        *d = s * scale * w;
                    }
                }
            }
            _ => {
                dst.copy_from_slice(src);
                self.in_place(dst);
            }
        }
    }

    /// The same where source and destination are one.
    pub fn in_place(&self, values: &mut [f32]) {
        for (run, row) in values.chunks_exact_mut(self.width).enumerate() {
            if self.kind != Norm::Rms {
                let mean = row.iter().sum::<f32>() / row.len() as f32;
                row.iter_mut().for_each(|v| *v -= mean);
            }
            if self.kind == Norm::Excess {
                let least = self.epsilon * (super::vector::sum_squares(row) / (row.len() - 1).max(1) as f32).sqrt();
                row.iter_mut().for_each(|v| *v = (*v - least).max(0.0));
                continue;
            }
            let scale = scale(row, self.epsilon);
            row.iter_mut().for_each(|v| *v *= scale);
            if let Some(weight) = self.weight {
                row.iter_mut().zip(of_run(weight, run, self.width)).for_each(|(v, w)| *v *= w);
            }
            if let Some(bias) = self.bias {
                row.iter_mut().zip(of_run(bias, run, self.width)).for_each(|(v, b)| *v += b);
            }
        }
    }
}

/// What a run has of a weight, which may have one for each run of a row.
fn of_run(weight: &[f32], run: usize, width: usize) -> &[f32] {
    &weight[run * width % weight.len()..][..width]
}

fn scale(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (super::vector::sum_squares(row) / row.len() as f32 + epsilon).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_mean_by_more_is_left() {
        // Mean 3, and 2 is the deviation of a sample.
        let norm = Normalise { kind: Norm::Excess, weight: None, bias: None, width: 5, epsilon: 0.5 };
        let mut values = [1.0, 1.0, 3.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        norm.in_place(&mut values);
        assert_eq!(values, [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// Both norms by their definitions, in f64.
    fn naive(n: &Normalise, src: &[f32], run: usize) -> Vec<f64> {
        let row = src.iter().map(|v| f64::from(*v));
        let mean = match n.kind {
            Norm::Rms => 0.0,
            Norm::Layer | Norm::Excess => row.clone().sum::<f64>() / src.len() as f64,
        };
        let variance = row.clone().map(|v| (v - mean).powi(2)).sum::<f64>() / src.len() as f64;
        let of = |w: Option<&[f32]>, i: usize| w.map(|w| f64::from(w[(run * n.width + i) % w.len()]));
        let value = |(i, v): (usize, f64)| {
            (v - mean) / (variance + f64::from(n.epsilon)).sqrt() * of(n.weight, i).unwrap_or(1.0)
                + of(n.bias, i).unwrap_or(0.0)
        };
        row.enumerate().map(value).collect()
    }

    #[test]
    fn rows_agree_with_the_definitions() {
        for width in [1, 4, 5, 64, 67] {
            let src: Vec<f32> = (0..4 * width).map(|i| (i as f32 * 0.77).sin() * 3.0 + 1.0).collect();
            let weight: Vec<f32> = (0..2 * width).map(|i| 1.0 + i as f32 / 10.0).collect();
            let bias: Vec<f32> = (0..2 * width).map(|i| (i as f32 * 0.3).cos()).collect();
            for kind in [Norm::Rms, Norm::Layer] {
                for (weights, biases) in [(None, None), (Some(1), None), (Some(1), Some(1)), (Some(2), Some(2))] {
                    let weight = weights.map(|runs| &weight[..runs * width]);
                    let bias = biases.map(|runs| &bias[..runs * width]);
                    let norm = Normalise { kind, weight, bias, width, epsilon: 1e-5 };
                    let mut dst = vec![f32::NAN; src.len()];
                    norm.run(&src, &mut dst);
                    for (run, (row, got)) in src.chunks(width).zip(dst.chunks(width)).enumerate() {
                        let truth = naive(&norm, row, run);
                        assert!(
                            truth.iter().zip(got).all(|(t, g)| (t - f64::from(*g)).abs() < 1e-4),
                            "{kind:?} {width}"
                        );
                    }
                    let mut in_place = src.clone();
                    norm.in_place(&mut in_place);
                    assert_eq!(in_place, dst);
                }
            }
        }
    }
}
