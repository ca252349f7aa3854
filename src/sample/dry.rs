//! DRY ("don't repeat yourself"): what would go on with a repetition becomes less probable, the more the longer it is
//! already. As in llama.cpp, whose source is the reference.

use crate::tokenizer::Tokenizer;
use std::collections::HashMap;

/// A breaker's bytes beyond these are passed over, and its tokens beyond those.
const BREAKER_BYTES_MAX: usize = 40;
const TAIL_TOKENS_MAX: usize = 20;

/// Exponents beyond this would leave what a float holds: the logarithm of the largest.
const LOG_MAX: f64 = 88.722_839_1;

/// The texts that repetitions are not followed across, as the tokens that they may be written in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakers {
    /// For a token that holds the beginning of a breaker, what may follow to complete it; nothing where it holds all of it.
    tails: HashMap<u32, Vec<Vec<u32>>>,
}

impl Breakers {
    /// The tokens of a vocabulary that these texts may be written in.
    pub fn new(tokenizer: &Tokenizer, texts: &[String]) -> Breakers {
        let mut breakers = Breakers::default();
        for text in texts {
            let end = (0..=text.len().min(BREAKER_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let text = &text[..end];
            for token in 0..tokenizer.vocabulary_size() as u32 {
                let word = tokenizer.piece_special(token).unwrap_or_default();
                breakers.overlap(token, word, text, |rest| tokenizer.encode_on(rest));
            }
        }
        breakers
    }

    /// Adds what a token has of a breaker.
    fn overlap(&mut self, token: u32, word: &[u8], text: &str, encode: impl Fn(&str) -> Vec<u32>) {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return;
        }
        if word.windows(bytes.len()).any(|part| part == bytes) {
            return self.tails.entry(token).or_default().push(Vec::new());
        }
        for at in 0..word.len() {
            let shared = word.len() - at;
            if shared < bytes.len() && word[at..] == bytes[..shared] && text.is_char_boundary(shared) {
                let mut tail = encode(&text[shared..]);
                tail.truncate(TAIL_TOKENS_MAX);
                let tails = self.tails.entry(token).or_default();
                if !tails.contains(&tail) {
                    tails.push(tail);
                }
            }
        }
    }

    /// Whether the token alone is a breaker.
    fn is_one(&self, token: u32) -> bool {
        self.tails.get(&token).is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }

    /// How many tokens stand behind the last breaker of `recent`.
    fn since(&self, recent: &[u32]) -> usize {
        for (behind, (at, token)) in recent.iter().enumerate().rev().enumerate() {
            let tails = self.tails.get(token).into_iter().flatten();
            let longest = tails.filter(|tail| recent[at + 1..].starts_with(tail)).map(Vec::len).max();
            if let Some(longest) = longest {
                return behind - longest;
            }
        }
        recent.len()
    }
}

/// What is taken from the logits of tokens that would go on with a repetition in `recent`, which lie one after the other.
/// A repetition counts from `allowed` tokens on, which costs `multiplier`, and each further one multiplies that by `base`.
pub(super) fn penalties(
    recent: &[u32],
    breakers: &Breakers,
    multiplier: f64,
    base: f64,
    allowed: usize,
) -> HashMap<u32, f64> {
    let limit = breakers.since(recent);
    let mut longest: HashMap<u32, usize> = HashMap::new();
    if limit < allowed {
        return HashMap::new();
    }
    let matches = suffixes(recent);
    for (at, &token) in recent.iter().enumerate().skip(1) {
        let length = matches[at - 1].min(limit);
        if length >= allowed {
            let most = longest.entry(token).or_default();
            *most = length.max(*most);
        }
    }
    let most = if base > 1.000_001 { (LOG_MAX / base.ln()) as usize } else { usize::MAX };
    let penalty = |length: usize| multiplier * base.powf((length - allowed).min(most) as f64);
    longest
        .into_iter()
        .filter(|(token, _)| !breakers.is_one(*token))
        .map(|(token, length)| (token, penalty(length)))
        .collect()
}

/// For each place but the last: how many tokens up to and with it are those at the end. The Z-algorithm, from the end on.
fn suffixes(tokens: &[u32]) -> Vec<usize> {
    let count = tokens.len();
    let from_end = |at: usize| tokens[count - 1 - at];
    let mut z = vec![0; count];
    // The stretch that is known to agree with the end: places from `left` to before `right`, counted from the end.
    let (mut left, mut right) = (0, 0);
    for at in 1..count {
        let mut length = if at < right { z[at - left].min(right - at) } else { 0 };
        while at + length < count && from_end(length) == from_end(at + length) {
            length += 1;
        }
        z[at] = length;
        if at + length > right {
            (left, right) = (at, at + length);
        }
    }
    z.reverse();
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_a_breaker_or_its_beginning() {
        let mut breakers = Breakers::default();
        // Token 2 is a letter, and what is left of a breaker is encoded as the bytes that it has.
        let encode = |rest: &str| rest.bytes().map(u32::from).collect();
        for (token, word) in [(300, "a--b"), (301, "x-"), (302, "--"), (303, "-x"), (304, "x")] {
            breakers.overlap(token, word.as_bytes(), "--", encode);
        }
        let dash = u32::from(b'-');
        assert_eq!(breakers.tails[&300], [Vec::<u32>::new()]);
        assert_eq!(breakers.tails[&301], [vec![dash]]);
        assert!(breakers.is_one(302) && !breakers.is_one(301));
        assert!(!breakers.tails.contains_key(&303) && !breakers.tails.contains_key(&304));
        assert_eq!(breakers.since(&[1, 300, 4, 5]), 2);
        assert_eq!(breakers.since(&[1, 301, 4, 5]), 4, "its end is missing");
        assert_eq!(breakers.since(&[1, 301, dash, 5]), 1);
        assert_eq!(breakers.since(&[]), 0);
    }

    /// The rule by the book: for each place, how much of what stands before it is what stands at the end.
    fn by_the_book(recent: &[u32], breaker: u32, multiplier: f64, base: f64, allowed: usize) -> HashMap<u32, f64> {
        let limit = recent.iter().rev().position(|token| *token == breaker).unwrap_or(recent.len());
        let mut longest: HashMap<u32, usize> = HashMap::new();
        for at in 1..recent.len() {
            let mut length = 0;
            while length < at && length < limit && recent[at - 1 - length] == recent[recent.len() - 1 - length] {
                length += 1;
            }
            let most = longest.entry(recent[at]).or_insert(length);
            *most = length.max(*most);
        }
        let counts =
            longest.into_iter().filter(|(token, length)| *length >= allowed && *token != breaker && limit >= allowed);
        counts.map(|(token, length)| (token, multiplier * base.powi((length - allowed) as i32))).collect()
    }

    #[test]
    fn penalties_are_those_of_the_book() {
        let breakers = Breakers { tails: HashMap::from([(0, vec![Vec::new()])]) };
        let mut random = fastrand::Rng::with_seed(1);
        let mut some = 0;
        for round in 0..2000 {
            let recent: Vec<u32> = (0..random.usize(0..40)).map(|_| random.u32(0..2 + round % 4)).collect();
            for allowed in [0, 1, 2, 4] {
                let found = penalties(&recent, &breakers, 0.8, 1.75, allowed);
                let expected = by_the_book(&recent, 0, 0.8, 1.75, allowed);
                some += usize::from(!found.is_empty());
                assert_eq!(found.len(), expected.len(), "{recent:?}, {allowed}: {found:?}, {expected:?}");
                for (token, penalty) in expected {
                    assert!((found[&token] - penalty).abs() <= 1e-9 * penalty, "{recent:?}, {allowed}, {token}");
                }
            }
        }
        assert!(some > 2000, "{some}");
    }

    #[test]
    fn long_repetitions_stay_finite() {
        let penalties = penalties(&[7; 5000], &Breakers::default(), 1.0, 4.0, 2);
        assert!(penalties[&7].is_finite() && penalties[&7] <= f64::from(f32::MAX));
    }
}
