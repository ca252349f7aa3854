//! WordPiece: words of a normalised text, each cut into the longest tokens that the vocabulary has. As llama.cpp does it,
//! whose files have words with U+2581 before them in place of `##` before what goes on.

use super::accents::Accents;
use super::class::{is_control, is_mark, is_punctuation, kind};
use super::spm::SPACE;
use super::vocabulary::Vocabulary;

/// Ideographs, each a word by itself.
const IDEOGRAPHS: [(u32, u32); 8] = [
    (0x3400, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xf900, 0xfaff),
    (0x20000, 0x2a6df),
    (0x2a700, 0x2b73f),
    (0x2b740, 0x2b81f),
    (0x2b920, 0x2ceaf),
    (0x2f800, 0x2fa1f),
];

/// How a text is normalised.
#[derive(Debug)]
pub struct WordPiece {
    /// Where accents are taken away.
    pub accents: Option<Accents>,
    pub lowercase: bool,
}

impl WordPiece {
    /// Appends the tokens of `text`. A word that is not made of tokens is `unknown` as a whole.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, unknown: Option<u32>, out: &mut Vec<u32>) {
        let mut word = String::new();
        for character in text.chars() {
            let character = self.accents.as_ref().map_or(character, |accents| accents.first(character));
            let is_dropped = matches!(character, '\0' | '\u{fffd}')
                || is_control(character)
                || self.accents.is_some() && is_mark(character);
            if character.is_whitespace() {
                cut(vocabulary, &mut word, unknown, out);
            } else if is_dropped {
            } else if stands_alone(character) {
                cut(vocabulary, &mut word, unknown, out);
                self.push(character, &mut word);
                cut(vocabulary, &mut word, unknown, out);
            } else {
                self.push(character, &mut word);
            }
        }
        cut(vocabulary, &mut word, unknown, out);
    }

    fn push(&self, character: char, word: &mut String) {
        let lower = character.to_lowercase().next().filter(|_| self.lowercase);
        word.push(lower.unwrap_or(character));
    }
}

/// Whether a character is a word by itself.
fn stands_alone(character: char) -> bool {
    let code = u32::from(character);
    let is_ideograph = || IDEOGRAPHS.iter().any(|(first, last)| (*first..=*last).contains(&code));
    is_punctuation(character) || is_symbol(character) || is_ideograph()
}

/// Symbols of ASCII.
fn is_symbol(character: char) -> bool {
    character.is_ascii() && super::class::kind_of(character) & kind::SYMBOL != 0
}

/// Appends the tokens of a word, if there is one, and empties it.
fn cut(vocabulary: &Vocabulary, word: &mut String, unknown: Option<u32>, out: &mut Vec<u32>) {
    if word.is_empty() {
        return;
    }
    // The vocabulary has spaces in place of U+2581.
    let whole = format!(" {}", word.replace(SPACE, " "));
    word.clear();
    let before = out.len();
    let mut rest = whole.as_str();
    while !rest.is_empty() {
        let longest = rest.len().min(vocabulary.indexed_bytes_max());
        let ends = (1..=longest).rev().filter(|end| rest.is_char_boundary(*end));
        let found = ends.filter_map(|end| Some((end, vocabulary.find(&rest.as_bytes()[..end])?))).next();
        let Some((end, id)) = found else {
            out.truncate(before);
            out.extend(unknown);
            return;
        };
        out.push(id);
        rest = &rest[end..];
    }
}
