//! SentencePiece's unigram model: of all ways to cut a normalised text into tokens the one whose scores sum to the most.
//! <https://arxiv.org/abs/1808.06226>

use super::charsmap::Charsmap;
use super::prefixes::Prefixes;
use super::spm::SPACE;
use super::vocabulary::{Kind, Vocabulary};

/// How much worse than the worst token a character is that no token stands for.
const UNKNOWN_PENALTY: f64 = 10.0;

/// What a unigram vocabulary has beside its tokens.
#[derive(Debug)]
pub struct Unigram {
    /// Log-probabilities.
    scores: Vec<f32>,
    unknown_score: f64,
    prefixes: Prefixes,
    pub charsmap: Charsmap,
    /// Whether a space is put before a text.
    pub adds_space: bool,
    /// Whether white space between words becomes one space, and that before and after them none but the first.
    pub merges_spaces: bool,
}

/// The best way to cut a text up to some byte.
#[derive(Clone, Copy)]
struct Best {
    /// Its last token; none where that is unknown.
    token: Option<u32>,
    /// Where that begins.
    from: usize,
    score: f64,
}

impl Unigram {
    pub fn new(vocabulary: &Vocabulary, scores: Vec<f32>) -> Unigram {
        let ids = || 0..vocabulary.len() as u32;
        let worst = ids().filter(|id| vocabulary.kind(*id) == Kind::Normal).map(|id| scores[id as usize]);
        let worst = worst.fold(f32::MAX, f32::min);
        Unigram {
            scores,
            unknown_score: f64::from(worst) - UNKNOWN_PENALTY,
            prefixes: Prefixes::new(vocabulary),
            charsmap: Charsmap::default(),
            adds_space: false,
            merges_spaces: false,
        }
    }

    /// Appends the tokens of `text`. Characters that no token stands for are `unknown`, neighbours together.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, unknown: Option<u32>, out: &mut Vec<u32>) {
        let text = self.normalised(text);
        let mut best = vec![Best { token: None, from: 0, score: f64::MIN }; text.len() + 1];
        best[0].score = 0.0;
        for (start, character) in text.char_indices() {
            let reached = best[start].score;
            let mut offer = |token: Option<u32>, end: usize, score: f64| {
                if reached + score > best[end].score {
                    best[end] = Best { token, from: start, score: reached + score };
                }
            };
            let next = start + character.len_utf8();
            let mut is_token = false;
            self.prefixes.of(vocabulary, &text.as_bytes()[start..], |id, length| {
                is_token |= start + length == next;
                // What the model's maker defined comes before what was learnt.
                let is_defined = vocabulary.kind(id) == Kind::UserDefined;
                offer(Some(id), start + length, if is_defined { 0.0 } else { f64::from(self.scores[id as usize]) });
            });
            if !is_token {
                offer(None, next, self.unknown_score);
            }
        }
        let (mut at, before) = (text.len(), out.len());
        let mut was_unknown = false;
        while at > 0 {
            let Best { token, from, .. } = best[at];
            let is_unknown = token.is_none() || token == unknown;
            if !(is_unknown && was_unknown) {
                out.extend(token.or(unknown));
            }
            (at, was_unknown) = (from, is_unknown);
        }
        out[before..].reverse();
    }

    /// The text as tokens have it, with spaces for U+2581.
    fn normalised(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 1);
        let (mut is_begun, mut in_word) = (false, false);
        for piece in self.charsmap.pieces(text) {
            for character in piece.chars() {
                if character == ' ' {
                    in_word = false;
                    if !self.merges_spaces {
                        out.push(' ');
                    }
                    continue;
                }
                if !in_word && (self.merges_spaces || self.adds_space && !is_begun) {
                    out.push(' ');
                    is_begun = true;
                }
                in_word = true;
                out.push(character);
            }
        }
        out.replace(SPACE, " ")
    }
}
