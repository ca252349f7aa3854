//! Samplers that only some requests ask for, and any order of all of them. Each takes candidates and leaves fewer, or
//! changes their logits. The rules are llama.cpp's, whose source is the reference; sums are in 64-bit floats.

use super::params::SamplingParams;

/// A step from logits to the tokens that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `repeat_penalty`, `presence_penalty` and `frequency_penalty`.
    Penalties,
    /// The penalty of repetitions.
    Dry,
    /// Keeps logits near the largest, in standard deviations of all.
    TopNSigma,
    /// Keeps the likeliest so many.
    TopK,
    /// Keeps tokens whose surprise is nearest the expected one.
    TypicalP,
    /// Keeps the likeliest that together have a probability.
    TopP,
    /// Keeps tokens that are nearly as probable as the likeliest.
    MinP,
    /// Now and then leaves out the likeliest but one of those that are probable enough.
    Xtc,
    /// Flattens or sharpens what is left.
    Temperature,
}

/// Every step with its names in a request, in llama.cpp's order.
pub const STEPS: [(Step, &[&str]); 9] = [
    (Step::Penalties, &["penalties"]),
    (Step::Dry, &["dry"]),
    (Step::TopNSigma, &["top_n_sigma"]),
    (Step::TopK, &["top_k"]),
    (Step::TypicalP, &["typ_p", "typical_p"]),
    (Step::TopP, &["top_p"]),
    (Step::MinP, &["min_p"]),
    (Step::Xtc, &["xtc"]),
    (Step::Temperature, &["temperature"]),
];

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub logit: f64,
    pub token: u32,
}

/// The likeliest first; of equals the lower id.
pub(super) fn sort(choices: &mut [Choice]) {
    choices.sort_unstable_by(|a, b| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token)));
}

fn largest(choices: &[Choice]) -> f64 {
    choices.iter().fold(f64::NEG_INFINITY, |best, choice| best.max(choice.logit))
}

/// The probabilities of choices.
pub(super) fn probabilities(choices: &[Choice]) -> Vec<f64> {
    let best = largest(choices);
    let powers: Vec<f64> = choices.iter().map(|choice| (choice.logit - best).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

fn entropy(probabilities: &[f64]) -> f64 {
    -probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// Does a step that needs no history. `random` gives a number from 0 to below 1. At least one choice is left of any.
pub(super) fn apply(step: Step, params: &SamplingParams, choices: &mut Vec<Choice>, random: &mut dyn FnMut() -> f64) {
    let min_keep = params.min_keep as usize;
    match step {
        // They need the history: the sampler makes them.
        Step::Penalties | Step::Dry => {}
        Step::TopNSigma => top_n_sigma(choices, f64::from(params.top_n_sigma)),
        Step::TopK => top_k(choices, params.top_k as usize),
        Step::TypicalP => typical_p(choices, f64::from(params.typical_p), min_keep),
        Step::TopP => top_p(choices, f64::from(params.top_p), min_keep),
        Step::MinP => min_p(choices, f64::from(params.min_p), min_keep),
        Step::Xtc => xtc(choices, f64::from(params.xtc_probability), f64::from(params.xtc_threshold), min_keep, random),
        Step::Temperature => temperature(choices, params),
    }
}

fn top_k(choices: &mut Vec<Choice>, count: usize) {
    if count > 0 && count < choices.len() {
        let by = |a: &Choice, b: &Choice| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token));
        choices.select_nth_unstable_by(count, by);
        choices.truncate(count);
    }
}

fn top_n_sigma(choices: &mut Vec<Choice>, times: f64) {
    if times <= 0.0 || choices.len() < 2 {
        return;
    }
    let count = choices.len() as f64;
    let mean = choices.iter().map(|choice| choice.logit).sum::<f64>() / count;
    let variance = choices.iter().map(|choice| (choice.logit - mean).powi(2)).sum::<f64>() / count;
    let least = largest(choices) - times * variance.sqrt();
    choices.retain(|choice| choice.logit >= least);
}

/// Meister et al., "Locally Typical Sampling".
fn typical_p(choices: &mut Vec<Choice>, share: f64, min_keep: usize) {
    if share >= 1.0 {
        return;
    }
    sort(choices);
    let probabilities = probabilities(choices);
    let expected = entropy(&probabilities);
    let distance = |at: usize| (-probabilities[at].ln() - expected).abs();
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    let mut sum = 0.0;
    let enough = order.iter().enumerate().position(|(place, &at)| {
        sum += probabilities[at];
        sum > share && place + 1 >= min_keep
    });
    order.truncate(enough.map_or(order.len(), |place| place + 1));
    *choices = order.into_iter().map(|at| choices[at]).collect();
}

fn top_p(choices: &mut Vec<Choice>, share: f64, min_keep: usize) {
    if share >= 1.0 {
        return;
    }
    sort(choices);
    let mut sum = 0.0;
    let enough = probabilities(choices).into_iter().enumerate().position(|(place, probability)| {
        sum += probability;
        sum >= share && place + 1 >= min_keep
    });
    choices.truncate(enough.map_or(choices.len(), |place| place + 1));
}

fn min_p(choices: &mut Vec<Choice>, share: f64, min_keep: usize) {
    if share <= 0.0 {
        return;
    }
    sort(choices);
    let least = largest(choices) + share.ln();
    let kept = choices.iter().take_while(|choice| choice.logit >= least).count();
    choices.truncate(kept.max(min_keep).max(1));
}

/// "Exclude top choices": of those that are at least as probable as the threshold, the least probable stays.
fn xtc(choices: &mut Vec<Choice>, probability: f64, threshold: f64, min_keep: usize, random: &mut dyn FnMut() -> f64) {
    // Two cannot both have more than a half.
    if probability <= 0.0 || threshold > 0.5 || choices.len() < 2 || random() >= probability {
        return;
    }
    sort(choices);
    let above = probabilities(choices).into_iter().take_while(|probability| *probability >= threshold).count();
    let left_out = above.saturating_sub(1);
    if left_out > 0 && choices.len() - left_out >= min_keep {
        choices.drain(..left_out);
    }
}

/// With a range, the temperature follows the entropy: the lower end where one token is certain, the upper end where all
/// are equally probable.
fn temperature(choices: &mut Vec<Choice>, params: &SamplingParams) {
    let (middle, range) = (f64::from(params.temperature), f64::from(params.dynatemp_range));
    let temperature = match choices.len() {
        count @ 2.. if range > 0.0 => {
            let (least, most) = ((middle - range).max(0.0), middle + range);
            let share = entropy(&probabilities(choices)) / (count as f64).ln();
            least + (most - least) * share.powf(f64::from(params.dynatemp_exponent))
        }
        _ => middle,
    };
    if temperature <= 0.0 {
        sort(choices);
        choices.truncate(1);
    }
    choices.iter_mut().for_each(|choice| choice.logit /= temperature.max(f64::MIN_POSITIVE));
    // What is left of one choice needs no scale, and could have become infinite.
    if let [only] = choices.as_mut_slice() {
        only.logit = 0.0;
    }
}

/// Basu et al., "Mirostat", the second version: keeps tokens that surprise less than `most`, in bits.
pub(super) fn surprising_at_most(choices: &mut Vec<Choice>, most: f64) {
    sort(choices);
    let kept = probabilities(choices).into_iter().take_while(|probability| -probability.log2() <= most).count();
    choices.truncate(kept.max(1));
}
