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
