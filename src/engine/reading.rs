//! What a model writes, read for the reasoning and the calls in it, where there may be such.

use crate::answer::{Delta, Plan, Reader};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::sync::Arc;

/// Reads a choice of a request. Without a plan all of it is content.
pub struct Reading {
    reader: Option<Reader>,
}

impl Reading {
    /// Before the first token.
    pub fn new(plan: Option<Arc<Plan>>) -> Reading {
        Reading { reader: plan.map(Reader::new) }
    }

    /// The name of a control token, where it is read as a mark. Such tokens have no text otherwise.
    pub fn mark<'a>(&mut self, tokenizer: &'a Tokenizer, token: u32) -> Result<&'a str> {
        let Some(reader) = self.reader.as_mut().filter(|_| tokenizer.piece(token).is_ok_and(<[u8]>::is_empty)) else {
            return Ok("");
        };
        let name = std::str::from_utf8(tokenizer.piece_special(token)?).unwrap_or_default();
        Ok(if reader.reads(name) { name } else { "" })
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
