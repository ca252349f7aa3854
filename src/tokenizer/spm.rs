//! SentencePiece's BPE: characters whose neighbours merge into the token with the best score.

use super::merge::{Merge, Merger, NO_TOKEN};
use super::vocabulary::Vocabulary;

/// How files write a space: U+2581.
pub const SPACE: &str = "\u{2581}";

/// The scores and byte tokens of a vocabulary.
#[derive(Debug)]
pub struct Spm {
    /// For each token, lower for a better score.
    priorities: Vec<u32>,
    /// The token of each byte, or `NO_TOKEN`.
    byte_tokens: Box<[u32; 256]>,
}

impl Spm {
    pub fn new(scores: impl Iterator<Item = f32>, byte_tokens: Box<[u32; 256]>) -> Self {
        Spm { priorities: scores.map(priority).collect(), byte_tokens }
    }

    /// Appends the tokens of `text`, in which spaces are spaces. What no token stands for becomes
    /// byte tokens, or `unknown` where there are none.
    pub fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        unknown: Option<u32>,
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        let bytes = text.as_bytes();
        merger.clear();
        for (start, character) in text.char_indices() {
            let id = vocabulary.find(&bytes[start..start + character.len_utf8()]);
            merger.push(start, id.unwrap_or(NO_TOKEN));
        }
        merger.run(bytes.len(), |range, _, _| {
            let id = vocabulary.find(&bytes[range])?;
            Some(Merge { priority: self.priorities[id as usize], id })
        });
        for (range, id) in merger.symbols() {
            if id == NO_TOKEN {
                self.fall_back(&bytes[range], unknown, out);
            } else {
                out.push(id);
            }
        }
    }

    /// Appends the bytes of a character that is no token.
    fn fall_back(&self, character: &[u8], unknown: Option<u32>, out: &mut Vec<u32>) {
        let ids = character.iter().map(|&byte| self.byte_tokens[byte as usize]);
        if ids.clone().any(|id| id == NO_TOKEN) {
            out.extend(unknown);
        } else {
            out.extend(ids);
        }
    }
}

/// A number that orders scores from best to worst; NaN comes last.
fn priority(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    // Adding zero makes −0 and 0 the same. The bits of a float are ordered like its magnitude.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { bits } else { !bits & !(1 << 31) }
}

/// The byte that a byte token such as `<0x0A>` names.
pub fn byte_of_name(name: &[u8]) -> Option<u8> {
    let digits = name.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let &[high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// Appends `token` with its spaces as spaces; false if no text can turn into it, because it has a
/// space where a vocabulary of this sort would have U+2581.
pub fn decode_spaces(token: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = token;
    while let Some(&byte) = rest.first() {
        match rest.strip_prefix(SPACE.as_bytes()) {
            Some(after) => {
                out.push(b' ');
                rest = after;
            }
            None => {
                out.push(byte);
                rest = &rest[1..];
            }
        }
    }
    !token.contains(&b' ')
}
