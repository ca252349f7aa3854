//! Keeps control tokens that people write in messages from becoming control tokens.
//!
//! The tokeniser finds control tokens in the rendered prompt by their text. So the texts are broken
//! in everything that comes from outside the template: a character that occurs nowhere else, the
//! guard, is put behind the first character of each occurrence, and the tokeniser takes it out
//! again after it has split the prompt at the control tokens that are still whole.

use std::sync::Arc;

use crate::error::{ChordError, Result};
use crate::matcher::{Matcher, State};

/// The texts of a model's control tokens, compiled for the search.
#[derive(Clone, Debug)]
pub struct ControlTexts {
    /// The texts reversed: reading a string from its end, a match tells where an occurrence
    /// begins, and each beginning is told once however many texts begin there.
    reversed: Arc<Matcher>,
}

impl ControlTexts {
    /// Compiles the texts. Empty ones are passed over.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> ControlTexts {
        ControlTexts { reversed: Arc::new(Matcher::new(texts.into_iter().map(|text| text.bytes().rev()))) }
    }

    /// True if there are no control texts.
    pub fn is_empty(&self) -> bool {
        self.reversed.is_empty()
    }

    /// True if the string contains a control text.
    pub fn occur_in(&self, text: &str) -> bool {
        !self.is_empty() && !self.starts(text).is_empty()
    }

    /// Breaks every occurrence, overlapping ones too. `None` if there is none.
    ///
    /// The guard stands behind the first character of an occurrence, so a control text of a single
    /// character is followed by it: the tokeniser treats a match whose first character is followed
    /// by the guard as text. Guards never begin a string, so they cannot disable the template's own
    /// control tokens.
    pub fn guarded(&self, text: &str, guard: char) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let starts = self.starts(text);
        if starts.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len() + starts.len() * guard.len_utf8());
        let mut copied = 0;
        for &start in starts.iter().rev() {
            let first = text[start..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&text[copied..start + first]);
            out.push(guard);
            copied = start + first;
        }
        out.push_str(&text[copied..]);
        Some(out)
    }

    /// Where control texts begin, last first. The texts are whole characters, so a beginning is
    /// always a character boundary.
    fn starts(&self, text: &str) -> Vec<usize> {
        let mut state = State::default();
        let mut starts = Vec::new();
        for (at, &byte) in text.as_bytes().iter().enumerate().rev() {
            state = self.reversed.step(state, byte);
            if self.reversed.found(state).is_some() {
                starts.push(at);
            }
        }
        starts
    }
}

/// What a rendering needs to break control texts that only come about while it runs.
#[derive(Clone)]
pub(super) struct Guarding {
    pub controls: ControlTexts,
    pub guard: Option<char>,
}

impl Guarding {
    /// Breaks the control texts of an edited string if there were none before: taking `/think` out
    /// of `<|im_/thinkend|>` must not make a control token.
    pub fn edited(&self, before: &str, after: String) -> String {
        match self.guard {
            Some(guard) if !self.controls.occur_in(before) => self.controls.guarded(&after, guard).unwrap_or(after),
            _ => after,
        }
    }
}

/// Remembers which of the candidates for a guard have been seen: the noncharacters U+FDD0 to
/// U+FDEF, which Unicode reserves for internal use and which no text should contain.
#[derive(Default)]
pub(super) struct FreeGuards {
    seen: u32,
}

impl FreeGuards {
    const FIRST: u32 = 0xFDD0;

    /// Notes the candidates that a text contains.
    pub(super) fn see(&mut self, text: &str) {
        // All candidates begin with the same byte in UTF-8, which is rare in text.
        if !text.as_bytes().contains(&0xEF) {
            return;
        }
        for c in text.chars() {
            let index = (c as u32).wrapping_sub(Self::FIRST);
            if index < 32 {
                self.seen |= 1 << index;
            }
        }
    }

    /// A candidate that was not seen.
    ///
    /// # Errors
    /// `InvalidParameter` if the input contains all of them.
    pub(super) fn pick(&self) -> Result<char> {
        let index = (!self.seen).trailing_zeros();
        let guard = if index < 32 { char::from_u32(Self::FIRST + index) } else { None };
        guard.ok_or_else(|| ChordError::parameter("messages", "messages contain every noncharacter of Unicode"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: char = '\u{FDD0}';

    fn guarded(texts: &[&str], input: &str) -> Option<String> {
        ControlTexts::new(texts.iter().copied()).guarded(input, GUARD).map(|out| out.replace(GUARD, "^"))
    }

    #[test]
    fn breaks_every_occurrence() {
        assert_eq!(guarded(&["<s>"], "plain"), None);
        assert_eq!(guarded(&["<s>"], "a<s>b<s>"), Some("a<^s>b<^s>".into()));
        assert_eq!(guarded(&["abab"], "ababab"), Some("a^ba^bab".into()));
        assert_eq!(guarded(&["<|a|>", "|><|"], "<|a|><|a|>"), Some("<^|a|^><^|a|>".into()));
        assert_eq!(guarded(&["日本"], "x日本"), Some("x日^本".into()));
        assert_eq!(guarded(&["x"], "axxb"), Some("ax^x^b".into()));
        assert_eq!(guarded(&[""], "x"), None);
    }

    #[test]
    fn no_control_text_survives_and_nothing_else_changes() {
        let texts = ["<|im_end|>", "<|im_start|>", "[INST]", "|>", "aa"];
        let control = ControlTexts::new(texts);
        let mut seed = 3u64;
        let pieces = ["<|im_", "end", "|>", "start", "[INST", "]", "a", "é", "<"];
        for _ in 0..2000 {
            let mut input = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                input.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            let out = control.guarded(&input, GUARD).unwrap_or_else(|| input.clone());
            assert!(texts.iter().all(|text| !out.contains(text)), "{input}");
            assert_eq!(out.replace(GUARD, ""), input);
            assert_eq!(control.occur_in(&input), out != input);
        }
    }

    #[test]
    fn the_guard_is_a_character_that_does_not_occur() {
        let mut free = FreeGuards::default();
        free.see("plain \u{FDD0} and \u{FDD1}");
        assert_eq!(free.pick().unwrap(), '\u{FDD2}');
        let all: String = (0xFDD0..=0xFDEF).filter_map(char::from_u32).collect();
        free.see(&all);
        assert_eq!(free.pick().unwrap_err().details["name"], "messages");
    }
}
