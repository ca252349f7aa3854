//! Sampling: logits to token.
//!
//! The steps and their order are llama.cpp's:
//!
//! 1. `logit_bias` is added;
//! 2. penalties (`repeat_penalty` over the last [`REPEAT_WINDOW`] tokens of the sequence, prompt
//!    included, as llama.cpp does; presence and frequency over the tokens sampled so far, as
//!    OpenAI's documentation defines them);
//! 3. `temperature: 0` ends here: the largest logit wins, the lowest id on ties;
//! 4. `top_k`, then `top_p`, then `min_p` cut the distribution;
//! 5. `temperature` flattens or sharpens what is left, and a token is drawn.
//!
//! Requests may ask for more of llama.cpp's samplers, and for another order ([`Step`]); then all of them are made one by
//! one, in 64-bit floats. `repeat_penalty` and the others are the first of them, and DRY the second. Mirostat takes the
//! place of every cut. At temperature 0 only bias and penalties count.
//!
//! The cuts come before the temperature, so they judge what the model itself holds likely: a high
//! temperature makes the choice among plausible tokens freer without letting implausible ones in.

mod chain;
mod dry;
mod logprobs;
mod params;
mod select;
mod stop;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use self::chain::{Choice, probabilities};
pub use self::chain::{STEPS, Step};
pub use self::dry::Breakers;
pub use self::logprobs::top_logprobs;
pub use self::params::{RequestKind, SamplingParams};
use self::select::{Candidate, among, largest, largest_among, powers, sum_of_powers};
pub use self::stop::StopMatcher;
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::Draw;
use chord_kernels::vector;

/// How many tokens back `repeat_penalty` looks.
pub const REPEAT_WINDOW: usize = 64;

/// Candidates that `top_p` sorts at first; it doubles them while they do not suffice.
const TOP_P_FIRST: usize = 256;

/// Draws the tokens of one completion.
///
/// The same parameters, seed, logits and history give the same tokens. Buffers are kept from token
/// to token.
pub struct Sampler {
    params: SamplingParams,
    random: fastrand::Rng,
    /// Random numbers of draws that are made elsewhere, until their tokens come.
    reserved: VecDeque<f64>,
    candidates: Vec<Candidate>,
    /// Sums of the candidates' weights up to each.
    cumulative: Vec<f64>,
    /// Logits that were changed, with what they were before.
    changed: Vec<(usize, f32)>,
    /// How often each token was sampled; kept only if a penalty needs it.
    sampled: HashMap<u32, u32>,
    /// What DRY does not follow repetitions across.
    breakers: Breakers,
    choices: Vec<Choice>,
    /// The surprise that mirostat allows next, in bits, and what it was before the last token.
    surprise: [f64; 2],
}

impl Sampler {
    /// A sampler with valid parameters. The seed is the caller's, also where the request has none:
    /// this crate draws no randomness of its own. The choices of `n` need a seed each.
    pub fn new(params: SamplingParams, seed: u64) -> Sampler {
        Sampler {
            surprise: [2.0 * f64::from(params.mirostat_tau); 2],
            breakers: Breakers::default(),
            choices: Vec::new(),
            params,
            random: fastrand::Rng::with_seed(seed),
            reserved: VecDeque::new(),
            candidates: Vec::new(),
            cumulative: Vec::new(),
            changed: Vec::new(),
            sampled: HashMap::new(),
        }
    }

    /// The same, which follows no repetition across these.
    pub fn with_breakers(self, breakers: Breakers) -> Sampler {
        Sampler { breakers, ..self }
    }

    /// A sampler that makes this draw next.
    #[cfg(feature = "gpu")]
    pub fn of(draw: Draw) -> Sampler {
        let Draw { top_k, temperature, top_p, min_p, random } = draw;
        let params = SamplingParams { top_k, temperature, top_p, min_p, ..SamplingParams::default() };
        Sampler { reserved: VecDeque::from([random.into()]), ..Sampler::new(params, 0) }
    }

    /// The parameters it was made with.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Draws the next token. `history` is the whole sequence so far, prompt included. The logits,
    /// one per token of the vocabulary, are changed on the way and are as before at the end.
    ///
    /// # Errors
    /// `NonFinite` if a logit is NaN or infinite.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Result<u32> {
        self.sample_from(logits, history, None)
    }

    /// The same, of the tokens whose bits are set in `allowed` only: 32 of them a word, the first in the lowest bit. What
    /// is not allowed is as if it were not in the vocabulary, so that the cuts are made among what is.
    ///
    /// # Errors
    /// `NonFinite` as before, and `Internal` if no token is allowed.
    pub fn sample_among(&mut self, logits: &mut [f32], history: &[u32], allowed: &[u32]) -> Result<u32> {
        if among(logits, allowed).next().is_none() {
            return Err(ChordError::internal("no token is allowed"));
        }
        self.sample_from(logits, history, Some(allowed))
    }

    fn sample_from(&mut self, logits: &mut [f32], history: &[u32], allowed: Option<&[u32]>) -> Result<u32> {
        check(logits)?;
        self.add_bias(logits);
        let is_greedy = self.params.temperature == 0.0 && self.params.has(Step::Temperature);
        let is_chain = self.params.is_chain();
        if self.params.has(Step::Penalties) && (is_greedy || !is_chain) {
            self.penalise(logits, history);
        }
        if is_greedy && self.params.is_dry() {
            for (token, penalty) in self.repetitions(history) {
                change(logits, &mut self.changed, token, |logit| logit - penalty as f32);
            }
        }
        let token = match allowed {
            _ if is_chain && !is_greedy => self.draw_chained(logits, history, allowed),
            _ if !is_greedy => self.draw(logits, allowed),
            Some(allowed) => greedy(among(logits, allowed)),
            None => first_of(logits, vector::maximum(logits)),
        };
        for (at, before) in self.changed.drain(..).rev() {
            logits[at] = before;
        }
        self.count(token);
        Ok(token)
    }

    /// A token came without being drawn, as the only one that could: penalties count it.
    pub fn count(&mut self, token: u32) {
        if self.params.presence_penalty != 0.0 || self.params.frequency_penalty != 0.0 {
            *self.sampled.entry(token).or_default() += 1;
        }
    }

    /// A token that was drawn is not taken.
    pub fn reject(&mut self, token: u32) {
        if let Some(count) = self.sampled.get_mut(&token) {
            *count -= 1;
        }
        self.surprise[0] = self.surprise[1];
    }

    /// A draw as a backend may make it itself, with its random number; `None` if the parameters need all
    /// logits. It is for the token that comes `offset` tokens after the next one, and stays the same until
    /// [`Sampler::drawn_elsewhere`] or [`Sampler::sample`] has told of the next.
    pub fn draw_elsewhere(&mut self, offset: usize) -> Option<Draw> {
        let p = &self.params;
        let is_plain = p.logit_bias.is_empty()
            && (p.repeat_penalty, p.presence_penalty, p.frequency_penalty) == (1.0, 0.0, 0.0)
            && p.logprobs.is_none()
            && !p.is_chain();
        match (p.temperature == 0.0, p.top_k) {
            _ if !is_plain => None,
            (true, _) => Some(Draw::GREEDY),
            (false, top_k @ 1..=Draw::TOP_K_MAX) => {
                let (temperature, top_p, min_p) = (p.temperature, p.top_p, p.min_p);
                while self.reserved.len() <= offset {
                    self.reserved.push_back(self.random.f64());
                }
                Some(Draw { top_k, temperature, top_p, min_p, random: self.reserved[offset] as f32 })
            }
            _ => None,
        }
    }

    /// The next token was drawn elsewhere.
    pub fn drawn_elsewhere(&mut self) {
        self.reserved.pop_front();
    }

    fn add_bias(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.params.logit_bias {
            change(logits, &mut self.changed, token, |logit| logit + bias);
        }
    }

    /// The tokens that `repeat_penalty` applies to, in order, in the memory that is given for them.
    fn recent<'a>(history: &[u32], memory: &'a mut [u32; REPEAT_WINDOW]) -> &'a [u32] {
        let from = history.len().saturating_sub(REPEAT_WINDOW);
        let recent = &mut memory[..history.len() - from];
        recent.copy_from_slice(&history[from..]);
        recent.sort_unstable();
        let mut distinct = 0;
        for at in 0..recent.len() {
            if at == 0 || recent[at] != recent[distinct - 1] {
                recent[distinct] = recent[at];
                distinct += 1;
            }
        }
        &recent[..distinct]
    }

    fn penalise(&mut self, logits: &mut [f32], history: &[u32]) {
        let repeat = self.params.repeat_penalty;
        if repeat != 1.0 {
            for &token in Self::recent(history, &mut [0; REPEAT_WINDOW]) {
                // The penalty always lowers the logit, whatever its sign.
                let lower = |logit: f32| if logit > 0.0 { logit / repeat } else { logit * repeat };
                change(logits, &mut self.changed, token, lower);
            }
        }
        let (presence, frequency) = (self.params.presence_penalty, self.params.frequency_penalty);
        for (&token, &count) in self.sampled.iter().filter(|(_, count)| **count > 0) {
            change(logits, &mut self.changed, token, |logit| logit - presence - frequency * count as f32);
        }
    }

    /// What DRY takes from the logits of tokens.
    fn repetitions(&self, history: &[u32]) -> HashMap<u32, f64> {
        let p = &self.params;
        let count = p.dry_penalty_last_n.map_or(history.len(), |count| history.len().min(count as usize));
        let recent = &history[history.len() - count..];
        let (multiplier, base) = (f64::from(p.dry_multiplier), f64::from(p.dry_base));
        dry::penalties(recent, &self.breakers, multiplier, base, p.dry_allowed_length as usize)
    }

    /// Makes one step after the other, and draws of what is left.
    fn draw_chained(&mut self, logits: &[f32], history: &[u32], allowed: Option<&[u32]>) -> u32 {
        let mut choices = std::mem::take(&mut self.choices);
        choices.clear();
        let choice = |(token, logit): (usize, f32)| Choice { logit: logit.into(), token: token as u32 };
        match allowed {
            Some(allowed) => choices.extend(among(logits, allowed).map(choice)),
            None => choices.extend(logits.iter().copied().enumerate().map(choice)),
        }
        let count = self.params.samplers.as_ref().map_or(STEPS.len(), Vec::len);
        for place in 0..count {
            let step = self.params.samplers.as_ref().map_or(STEPS[place].0, |steps| steps[place]);
            let cuts = !matches!(step, Step::Penalties | Step::Dry | Step::Temperature);
            match step {
                Step::Penalties => self.penalise_choices(&mut choices, history),
                Step::Dry if self.params.is_dry() => {
                    let penalties = self.repetitions(history);
                    let hit = choices.iter_mut().filter_map(|choice| Some((penalties.get(&choice.token)?, choice)));
                    hit.for_each(|(penalty, choice)| choice.logit -= penalty);
                }
                _ if cuts && self.params.mirostat => {}
                step => chain::apply(step, &self.params, &mut choices, &mut || self.random.f64()),
            }
        }
        if self.params.mirostat {
            chain::surprising_at_most(&mut choices, self.surprise[0]);
        } else {
            // The order of what is left decides which random number means which token.
            chain::sort(&mut choices);
        }
        let shares = probabilities(&choices);
        let random = self.random.f64();
        let mut sum = 0.0;
        let at = shares.iter().position(|share| {
            sum += share;
            random < sum
        });
        let at = at.unwrap_or(0);
        if self.params.mirostat {
            let error = -shares[at].log2() - f64::from(self.params.mirostat_tau);
            self.surprise = [self.surprise[0] - f64::from(self.params.mirostat_eta) * error, self.surprise[0]];
        }
        let token = choices[at].token;
        self.choices = choices;
        token
    }

    fn penalise_choices(&self, choices: &mut [Choice], history: &[u32]) {
        let p = &self.params;
        let repeat = f64::from(p.repeat_penalty);
        let (presence, frequency) = (f64::from(p.presence_penalty), f64::from(p.frequency_penalty));
        let mut memory = [0; REPEAT_WINDOW];
        let recent = if p.repeat_penalty == 1.0 { &[] } else { Self::recent(history, &mut memory) };
        if recent.is_empty() && self.sampled.is_empty() {
            return;
        }
        for choice in choices {
            if recent.binary_search(&choice.token).is_ok() {
                choice.logit = if choice.logit > 0.0 { choice.logit / repeat } else { choice.logit * repeat };
            }
            if let Some(&count) = self.sampled.get(&choice.token).filter(|count| **count > 0) {
                choice.logit -= presence + frequency * f64::from(count);
            }
        }
    }

    fn draw(&mut self, logits: &[f32], allowed: Option<&[u32]>) -> u32 {
        let top_k = match self.params.top_k as usize {
            0 => logits.len(),
            top_k => top_k,
        };
        match allowed {
            Some(allowed) => largest_among(logits, allowed, top_k, &mut self.candidates),
            None => largest(logits, top_k, &mut self.candidates),
        }
        if top_k <= Draw::TOP_K_MAX as usize {
            // A backend that samples itself draws from candidates in this order.
            self.candidates.sort_unstable_by(select::best_first);
        }
        let best = self.candidates.iter().fold(f32::MIN, |best, candidate| best.max(candidate.logit));
        self.cut(best);
        let inverse = 1.0 / f64::from(self.params.temperature);
        let mut total = 0.0;
        self.cumulative.clear();
        let exponent = |candidate: &Candidate| ((f64::from(candidate.logit) - f64::from(best)) * inverse) as f32;
        powers(self.candidates.iter().map(exponent), |share| {
            total += f64::from(share);
            self.cumulative.push(total);
        });
        let random = self.reserved.pop_front().unwrap_or_else(|| self.random.f64());
        let drawn = random * total;
        let at = self.cumulative.partition_point(|&sum| sum <= drawn);
        // Rounding can make the draw as large as the total; the best token is always a candidate.
        let best = || self.candidates.iter().min_by(|a, b| select::best_first(a, b));
        self.candidates.get(at).or_else(best).map_or(0, |candidate| candidate.token)
    }

    /// Applies `top_p` and `min_p`. Both keep the likeliest candidates, so their order does not
    /// matter as long as the sum for `top_p` is that of all candidates; `min_p` goes first because
    /// it needs no sorting.
    fn cut(&mut self, best: f32) {
        let probability = |candidate: &Candidate| (f64::from(candidate.logit) - f64::from(best)).exp();
        let (top_p, min_p) = (f64::from(self.params.top_p), f64::from(self.params.min_p));
        let logits = self.candidates.iter().map(|candidate| candidate.logit);
        let total = if top_p < 1.0 { sum_of_powers(logits, best) } else { 0.0 };
        if min_p > 0.0 {
            let least = min_p.ln();
            self.candidates.retain(|candidate| f64::from(candidate.logit) - f64::from(best) >= least);
        }
        if top_p >= 1.0 {
            return;
        }
        let mut sorted = TOP_P_FIRST;
        loop {
            sorted = sorted.min(self.candidates.len());
            select::bring_forward(&mut self.candidates, sorted);
            let mut sum = 0.0;
            let enough = self.candidates[..sorted].iter().position(|candidate| {
                sum += probability(candidate);
                sum >= top_p * total
            });
            if let Some(last) = enough {
                return self.candidates.truncate(last + 1);
            }
            if sorted == self.candidates.len() {
                return;
            }
            sorted *= 2;
        }
    }
}

/// Refuses logits that are not numbers, before anything is added to them.
fn check(logits: &[f32]) -> Result<()> {
    // Which one it is matters only if there is one.
    if !logits.is_empty() && vector::all_finite(logits) {
        return Ok(());
    }
    match logits.iter().position(|logit| !logit.is_finite()) {
        None if logits.is_empty() => Err(ChordError::new(ErrorCode::Internal, "there are no logits")),
        None => Ok(()),
        Some(token) => {
            let message = format!("the model computed {} for token {token}", logits[token]);
            Err(ChordError::new(ErrorCode::NonFinite, message).with("token", token))
        }
    }
}

/// Changes a logit, staying finite, and notes what it was. Tokens beyond the vocabulary, which
/// only a history can have, are passed over.
fn change(logits: &mut [f32], changed: &mut Vec<(usize, f32)>, token: u32, by: impl Fn(f32) -> f32) {
    let at = token as usize;
    if let Some(logit) = logits.get_mut(at) {
        changed.push((at, *logit));
        *logit = by(*logit).clamp(f32::MIN, f32::MAX);
    }
}

/// The largest logit; the lowest id on ties.
fn greedy(logits: impl Iterator<Item = (usize, f32)>) -> u32 {
    let best = logits.reduce(|best, other| if other.1 > best.1 { other } else { best });
    best.map_or(0, |(token, _)| token as u32)
}

/// The first token that has this logit.
fn first_of(logits: &[f32], logit: f32) -> u32 {
    logits.iter().position(|other| *other == logit).unwrap_or(0) as u32
}
