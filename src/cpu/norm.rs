//! RMS norm: x / sqrt(mean(x²) + ε) · w. <https://arxiv.org/abs/1910.07467>

/// Normalises every `weight.len()` values of `src` into `dst`.
pub fn rms_norm(src: &[f32], weight: &[f32], dst: &mut [f32], epsilon: f32) {
    let width = weight.len();
    for (src, dst) in src.chunks_exact(width).zip(dst.chunks_exact_mut(width)) {
        let scale = scale(src, epsilon);
        for ((d, s), w) in dst.iter_mut().zip(src).zip(weight) {
            *d = s * scale * w;
        }
    }
}

/// The same where source and destination are one.
pub fn rms_norm_in_place(values: &mut [f32], weight: &[f32], epsilon: f32) {
    for row in values.chunks_exact_mut(weight.len()) {
        let scale = scale(row, epsilon);
        for (v, w) in row.iter_mut().zip(weight) {
            *v = *v * scale * w;
        }
    }
}

fn scale(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (super::vector::sum_squares(row) / row.len() as f32 + epsilon).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_weights_times_unit_mean_square() {
        for width in [1, 4, 5, 64, 67] {
            let src: Vec<f32> = (0..3 * width).map(|i| (i as f32 * 0.77).sin() * 3.0).collect();
            let weight: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 / 10.0).collect();
            let mut dst = vec![0.0; src.len()];
            rms_norm(&src, &weight, &mut dst, 1e-5);
            for (row, out) in src.chunks(width).zip(dst.chunks(width)) {
                let mean = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / width as f64;
                for ((v, w), got) in row.iter().zip(&weight).zip(out) {
                    assert!((f64::from(*v) / (mean + 1e-5).sqrt() * f64::from(*w) - f64::from(*got)).abs() < 1e-4);
                }
            }
            let mut in_place = src.clone();
            rms_norm_in_place(&mut in_place, &weight, 1e-5);
            assert_eq!(in_place, dst);
        }
    }
}
