//! Logarithms of probabilities as OpenAI's `logprobs` has them.

use super::select::{best_first, largest, sum_of_powers};
use chord_kernels::vector;

/// Natural logarithm of the softmax: of the chosen token, and of the `count` likeliest tokens, best
/// first, the lower id first on ties. The logits are those of the model, without temperature, bias
/// or penalties, and finite ([`Sampler::sample`](super::Sampler::sample) checks them and leaves
/// them as they were). A chosen token beyond the vocabulary has probability 0.
pub fn top_logprobs(logits: &[f32], chosen: u32, count: usize) -> (f32, Vec<(u32, f32)>) {
    let best = vector::maximum(logits);
    let normaliser = f64::from(best) + sum_of_powers(logits.iter().copied(), best).ln();
    let logprob = |logit: f32| (f64::from(logit) - normaliser) as f32;

    let mut candidates = Vec::new();
    largest(logits, count, &mut candidates);
    candidates.sort_unstable_by(best_first);
    let top = candidates.iter().map(|candidate| (candidate.token, logprob(candidate.logit))).collect();
    let chosen = logits.get(chosen as usize).map_or(f32::NEG_INFINITY, |&logit| logprob(logit));
    (chosen, top)
}
