//! The vocabulary of PLaMo 2: of all ways to cut a text into tokens the one whose scores sum to the most, from the end of
//! the text on, and bytes for characters that no token stands for.

use super::merge::NO_TOKEN;
use super::prefixes::Prefixes;
use super::vocabulary::Vocabulary;

/// Scores are counted in steps of a ten-thousandth.
const STEPS: f32 = 1e4;
/// The score of a character that no token stands for, and that up to which a token is never taken, in such steps.
const UNKNOWN_SCORE: i64 = -10_000_000;
const INVALID_SCORE: i64 = -20_000_000;
/// Is no part of a text where it comes first.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the vocabulary has beside its tokens.
#[derive(Debug)]
pub struct Plamo {
    /// In steps.
    scores: Vec<i64>,
    prefixes: Prefixes,
    /// The token of each byte.
    bytes: Box<[u32; 256]>,
}

/// The best way to cut a text from some byte on.
#[derive(Clone, Copy)]
struct Best {
    /// Its first token; none where that is unknown.
    token: Option<u32>,
    /// Where that ends.
    to: usize,
    score: i64,
}

impl Plamo {
    pub fn new(vocabulary: &Vocabulary, scores: &[f32], bytes: Box<[u32; 256]>) -> Plamo {
        let steps = |score: &f32| if score.is_finite() { (score * STEPS).round() as i64 } else { INVALID_SCORE };
        Plamo { scores: scores.iter().map(steps).collect(), prefixes: Prefixes::new(vocabulary), bytes }
    }

    /// Appends the tokens of `text`. Bytes that the vocabulary lacks are `unknown`.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, unknown: Option<u32>, out: &mut Vec<u32>) {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut best = vec![Best { token: None, to: text.len(), score: 0 }; text.len() + 1];
        for (start, character) in text.char_indices().rev() {
            let next = start + character.len_utf8();
            let mut found = Best { token: None, to: next, score: best[next].score + UNKNOWN_SCORE };
            self.prefixes.of(vocabulary, &text.as_bytes()[start..], |id, length| {
                let own = self.scores[id as usize];
                let score = best[start + length].score + own;
                // Of equal ways the one with the longest token is taken.
                if own > INVALID_SCORE && score >= found.score {
                    found = Best { token: Some(id), to: start + length, score };
                }
            });
            best[start] = found;
        }
        let mut at = 0;
        while at < text.len() {
            let Best { token, to, .. } = best[at];
            match token {
                Some(id) => out.push(id),
                None => {
                    let ids = text.as_bytes()[at..to].iter().map(|byte| self.bytes[usize::from(*byte)]);
                    out.extend(ids.filter_map(|id| if id == NO_TOKEN { unknown } else { Some(id) }));
                }
            }
            at = to;
        }
    }
}
