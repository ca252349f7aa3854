//! Mixture of experts: the choice of experts for each token.

use crate::program::{Routing, Scores};

/// Writes to `choice` the numbers of the `used` experts with the highest scores, then their weights. `bias` is
/// added to the scores for the choice.
pub fn route(logits: &mut [f32], choice: &mut [f32], used: usize, routing: &Routing, bias: Option<&[f32]>) {
    match routing.scores {
        Scores::Softmax => super::vector::softmax(logits),
        Scores::SoftmaxOfChosen => {}
        Scores::Sigmoid => logits.iter_mut().for_each(|logit| *logit = 1.0 / (1.0 + (-*logit).exp())),
    }
    let (numbers, weights) = choice.split_at_mut(used);
    for (number, weight) in numbers.iter_mut().zip(weights.iter_mut()) {
        let score = |expert: usize| logits[expert] + bias.map_or(0.0, |bias| bias[expert]);
        // The first of equals wins, as in a stable descending sort.
        let mut best = 0;
        for expert in 0..logits.len() {
            if score(expert) > score(best) {
                best = expert;
            }
        }
        *number = best as f32;
        *weight = logits[best];
        logits[best] = f32::NEG_INFINITY;
    }
    if routing.scores == Scores::SoftmaxOfChosen {
        super::vector::softmax(weights);
    }
    // The smallest normal f16, below which llama.cpp does not divide.
    let sum = weights.iter().sum::<f32>().max(6.103_515_6e-5);
    let factor = if routing.normalise { routing.scale / sum } else { routing.scale };
    weights.iter_mut().for_each(|w| *w *= factor);
}

/// `dst[t]` += Σ_j weight j of `choice[t]` · `src[t][j]`, for `tokens` tokens.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_experts_are_chosen_with_their_probabilities() {
        let logits = [0.5f32, 2.0, -1.0, 2.0, 1.0];
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        let probability = |expert: usize| logits[expert].exp() / total;
        for (normalise, scale) in [(true, 1.0), (false, 1.0), (true, 2.5)] {
            let mut choice = [0.0; 6];
            let routing = Routing { scores: Scores::Softmax, bias: None, normalise, scale };
            route(&mut logits.clone(), &mut choice, 3, &routing, None);
            assert_eq!(choice[..3], [1.0, 3.0, 4.0], "of equals the first comes first");
            let chosen: f32 = [1, 3, 4].map(probability).iter().sum();
            for (expert, weight) in [1, 3, 4].into_iter().zip(&choice[3..]) {
                let expected = probability(expert) * scale / if normalise { chosen } else { 1.0 };
                assert!((weight - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_bias_changes_the_choice_but_not_the_weights() {
        let logits = [0.5f32, 2.0, -1.0, 1.5];
        let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        let choose = |scores, bias: Option<&[f32]>| {
            let mut choice = [0.0; 4];
            let routing = Routing { scores, bias: None, normalise: false, scale: 1.0 };
            route(&mut logits.clone(), &mut choice, 2, &routing, bias);
            choice
        };
        assert_eq!(choose(Scores::Sigmoid, None), [1.0, 3.0, sigmoid(2.0), sigmoid(1.5)]);
        assert_eq!(choose(Scores::Sigmoid, Some(&[0.0, 0.0, 5.0, 0.0])), [2.0, 1.0, sigmoid(-1.0), sigmoid(2.0)]);
        let [first, second, one, other] = choose(Scores::SoftmaxOfChosen, None);
        assert_eq!([first, second], [1.0, 3.0]);
        assert!((one - sigmoid(0.5)).abs() < 1e-6 && (one + other - 1.0).abs() < 1e-6);
    }

    #[test]
    fn outputs_are_summed_by_weight() {
        let src: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let choice = [0.0, 1.0, 0.25, 0.75, 1.0, 0.0, 2.0, -1.0];
        let mut dst = [10.0; 6];
        sum(&src, &choice, 2, 2, &mut dst);
        assert_eq!(dst, [12.25, 13.25, 14.25, 10.0 + 12.0 - 9.0, 10.0 + 14.0 - 10.0, 10.0 + 16.0 - 11.0]);
    }
}
