//! Mixture of experts: the choice of experts for each token.

/// Writes to `choice` the numbers of the `used` experts with the highest probability, then their weights.
/// Probabilities are the softmax of `logits`; with `normalise` the chosen are scaled to sum to 1.
pub fn route(logits: &mut [f32], choice: &mut [f32], used: usize, normalise: bool, scale: f32) {
    super::vector::softmax(logits);
    let (numbers, weights) = choice.split_at_mut(used);
    for (number, weight) in numbers.iter_mut().zip(weights.iter_mut()) {
        // The first of equals wins, as in a stable descending sort.
        let mut best = 0;
        for (expert, probability) in logits.iter().enumerate() {
            if *probability > logits[best] {
                best = expert;
            }
        }
        *number = best as f32;
        *weight = logits[best];
        logits[best] = f32::NEG_INFINITY;
    }
    // The smallest normal f16, below which llama.cpp does not divide.
    let sum = weights.iter().sum::<f32>().max(6.103_515_6e-5);
    let factor = if normalise { scale / sum } else { scale };
    weights.iter_mut().for_each(|w| *w *= factor);
}

/// dst[t] += Σ_j weight j of `choice[t]` · src[t][j], for `tokens` tokens.
pub fn sum(src: &[f32], choice: &[f32], used: usize, tokens: usize, dst: &mut [f32]) {
    let width = dst.len() / tokens;
    for ((dst, rows), choice) in
        dst.chunks_exact_mut(width).zip(src.chunks_exact(used * width)).zip(choice.chunks_exact(2 * used))
    {
        for (row, weight) in rows.chunks_exact(width).zip(&choice[used..]) {
            super::vector::axpy(dst, *weight, row);
        }
    }
}
