//! The largest logits without sorting the vocabulary.

use chord_kernels::vector;
use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub logit: f32,
    pub token: u32,
}

/// Larger logits first, lower ids first on ties. Logits are finite here.
pub(super) fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.token.cmp(&b.token))
}

/// Puts the `count` largest logits into `out`, in an order that depends on the logits only.
/// Linear in the vocabulary: candidates below the `count` largest so far are passed over, and the
/// others are thinned out whenever twice as many as needed have come together.
pub(super) fn largest(logits: &[f32], count: usize, out: &mut Vec<Candidate>) {
    largest_of(logits.iter().copied().enumerate(), count, out);
}

/// The same of those tokens whose bits are set in `allowed`, 32 of them a word, the first in the lowest bit.
pub(super) fn largest_among(logits: &[f32], allowed: &[u32], count: usize, out: &mut Vec<Candidate>) {
    largest_of(among(logits, allowed), count, out);
}

/// The allowed tokens and their logits, in order.
pub(super) fn among<'a>(logits: &'a [f32], allowed: &'a [u32]) -> impl Iterator<Item = (usize, f32)> + 'a {
    allowed.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(move |(at, &word)| {
        let first = 32 * at;
        (0..32)
            .filter(move |bit| word >> bit & 1 == 1)
            .filter_map(move |bit| Some((first + bit, *logits.get(first + bit)?)))
    })
}

/// Values whose powers are computed at once.
const CHUNK: usize = 256;

/// Calls `visit` with e to the power of each exponent, in order: with vectors, in f32, since whole vocabularies come here
/// for every token.
pub(super) fn powers(exponents: impl Iterator<Item = f32>, mut visit: impl FnMut(f32)) {
    let (mut chunk, mut count) = ([0.0; CHUNK], 0);
    for exponent in exponents {
        chunk[count] = exponent;
        count += 1;
        if count == CHUNK {
            vector::exp(&mut chunk);
            chunk.iter().copied().for_each(&mut visit);
            count = 0;
        }
    }
    vector::exp(&mut chunk[..count]);
    chunk[..count].iter().copied().for_each(visit);
}

/// Σ e^(logit − best)
pub(super) fn sum_of_powers(logits: impl Iterator<Item = f32>, best: f32) -> f64 {
    let mut sum = 0.0;
    powers(logits.map(|logit| logit - best), |power| sum += f64::from(power));
    sum
}

fn largest_of(logits: impl Iterator<Item = (usize, f32)>, count: usize, out: &mut Vec<Candidate>) {
    out.clear();
    let full = count.saturating_mul(2).max(64);
    let mut threshold = f32::NEG_INFINITY;
    for (token, logit) in logits {
        // Of equal logits the earlier one stays, so an equal one that comes later is no candidate.
        if logit <= threshold {
            continue;
        }
        out.push(Candidate { logit, token: token as u32 });
        if out.len() == full {
            thin(out, count);
            threshold = out.iter().fold(f32::INFINITY, |least, candidate| least.min(candidate.logit));
        }
    }
    thin(out, count);
}

fn thin(candidates: &mut Vec<Candidate>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, best_first);
        candidates.truncate(count);
    }
}

/// Sorts the best `count` candidates to the front.
pub(super) fn bring_forward(candidates: &mut [Candidate], count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, best_first);
    }
    candidates[..count].sort_unstable_by(best_first);
}
