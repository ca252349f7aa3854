//! What a model writes, read for the reasoning and the calls in it, where there may be such.

use crate::answer::{Delta, Plan, Reader};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::sync::Arc;

/// Reads a choice of a request. Without a plan all of it is content.
pub struct Reading {
    reader: Option<Reader>,
    thoughts: Option<Thoughts>,
}

/// Counts the tokens of thoughts, with the marks around them. It hears of each token as it comes, also where its text is held
/// back.
struct Thoughts {
    reader: Reader,
    /// Tokens that may turn out to be of a mark before a thought.
    undecided: usize,
    tokens: usize,
}

impl Thoughts {
    fn count(&mut self, text: &str) {
        let was_thinking = self.reader.is_thinking() == Some(true);
        self.reader.push(text, &mut Delta::default());
        let is_thinking = self.reader.is_thinking();
        if was_thinking || is_thinking == Some(true) {
            self.tokens += std::mem::take(&mut self.undecided) + 1;
        } else {
            self.undecided = if is_thinking.is_none() { self.undecided + 1 } else { 0 };
        }
    }
}

impl Reading {
    /// Before the first token.
    pub fn new(plan: Option<Arc<Plan>>) -> Reading {
        let thoughts = plan.clone().filter(|plan| plan.style.thinks()).map(Reader::new);
        let thoughts = thoughts.map(|reader| Thoughts { reader, undecided: 0, tokens: 0 });
        Reading { reader: plan.map(Reader::new), thoughts }
    }

    /// A token has come that writes this text, or this mark.
    pub fn hear(&mut self, text: &str) {
        if let Some(thoughts) = &mut self.thoughts {
            thoughts.count(text);
        }
    }

    /// Tokens of thoughts so far, with the marks around them.
    pub fn thought_tokens(&self) -> usize {
        self.thoughts.as_ref().map_or(0, |thoughts| thoughts.tokens)
    }

    /// The name of a control token, where it is read as a mark. Such tokens have no text otherwise.
    pub fn mark<'a>(&mut self, tokenizer: &'a Tokenizer, token: u32) -> Result<&'a str> {
        let Some(reader) = self.reader.as_mut().filter(|_| tokenizer.piece(token).is_ok_and(<[u8]>::is_empty)) else {
            return Ok("");
        };
        let name = std::str::from_utf8(tokenizer.piece_special(token)?).unwrap_or_default();
        let reads = reader.reads(name);
        if let Some(thoughts) = &mut self.thoughts {
            thoughts.reader.reads(name);
        }
        Ok(if reads { name } else { "" })
    }

    /// Reads text that was released; true if no more is wanted.
    pub fn push(&mut self, released: String, delta: &mut Delta) -> bool {
        match &mut self.reader {
            Some(reader) => reader.push(&released, delta),
            None if delta.content.is_empty() => {
                delta.content = released;
                false
            }
            None => {
                delta.content.push_str(&released);
                false
            }
        }
    }

    /// Ends a choice, `is_cut` where the model would have gone on; whether it has called tools.
    pub fn finish(&mut self, is_cut: bool, delta: &mut Delta) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        reader.finish(is_cut, delta);
        reader.has_calls()
    }
}
