//! What becomes of a request that outgrows the context. A shift leaves out what is old: whole exchanges of a chat, else
//! tokens behind the first ones, which attention rests on (Xiao et al., "Efficient Streaming Language Models with
//! Attention Sinks", <https://arxiv.org/abs/2309.17453>). What is kept is computed again where it has moved, so that the
//! answer is the one that the shorter text has by itself, whatever the model keeps of a sequence.

use super::opened::Opened;
use super::request::{Chat, ChatPrompt};
use crate::error::Result;
use crate::template::CivilTime;
use serde::Deserialize;
use serde_json::Value as Json;

/// What becomes of a request that outgrows the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum ContextOverflow {
    /// A prompt that does not fit is refused, and an answer ends where the context does.
    #[default]
    Error,
    /// The oldest is left out.
    Shift,
}

/// Tokens at the beginning that stay.
const SINKS: usize = 4;

/// Tokens that a prompt leaves for an answer of up to `max_tokens`: a quarter of the context at most, which is also what
/// is left out at a time. So a chat that goes on begins alike for many turns, and its beginning is not computed again.
fn room(context: usize, max_tokens: Option<u32>) -> usize {
    max_tokens.map_or(usize::MAX, |most| most as usize).clamp(1, quarter(context))
}

fn quarter(context: usize) -> usize {
    (context / 4).max(1)
}

/// Tokens to leave out of a prompt of so many, in whole quarters of the context.
fn excess(tokens: usize, context: usize, max_tokens: Option<u32>) -> usize {
    let over = (tokens + room(context, max_tokens)).saturating_sub(context);
    over.div_ceil(quarter(context)) * quarter(context)
}

/// Leaves the oldest out of a prompt that is no chat. How many tokens those were.
pub fn shorten(tokens: &mut Vec<u32>, context: usize, max_tokens: Option<u32>) -> usize {
    let most = tokens.len().saturating_sub(SINKS + 1);
    let dropped = excess(tokens.len(), context, max_tokens).min(most);
    if dropped > 0 {
        tokens.drain(SINKS..SINKS + dropped);
    }
    dropped
}

/// Makes room in a full context: half of what comes after the prompt goes or, where the prompt is long, of all but the
/// first tokens. How many tokens are kept before what was left out, and how many those were.
pub fn shift(history: &mut Vec<u32>, prompt: usize) -> (usize, usize) {
    let kept = if 2 * prompt <= history.len() { prompt } else { SINKS.min(history.len() / 2) };
    let dropped = (history.len() - kept) / 2;
    history.drain(kept..kept + dropped);
    (kept, dropped)
}

impl Opened {
    /// The prompt of a chat without its oldest exchanges, as many as it takes to fit. How many tokens those were.
    pub(super) fn shortened_chat(
        &self,
        chat: &Chat,
        now: CivilTime,
        max_tokens: Option<u32>,
    ) -> Result<(ChatPrompt, usize)> {
        let whole = self.chat_prompt(chat, now)?;
        let all = whole.tokens.len();
        let wanted = excess(all, self.config.context, max_tokens);
        let starts = exchanges(&chat.messages);
        if wanted == 0 || starts.len() < 2 {
            return Ok((whole, 0));
        }
        // Fewest exchanges to leave out: the first number of them that is enough, by bisection.
        let (mut few, mut many) = (1, starts.len() - 1);
        let mut found = None;
        while few <= many {
            let middle = few.midpoint(many);
            let prompt = self.chat_prompt(&chat.without(starts[0]..starts[middle]), now)?;
            let is_enough = all.saturating_sub(prompt.tokens.len()) >= wanted;
            if is_enough || middle == starts.len() - 1 {
                found = Some(prompt);
            }
            if is_enough { many = middle - 1 } else { few = middle + 1 }
        }
        Ok(found.map_or((whole, 0), |prompt| {
            let dropped = all.saturating_sub(prompt.tokens.len());
            (prompt, dropped)
        }))
    }
}

/// Where exchanges begin: at the messages of the person. What stands before the first one, instructions, belongs to none.
fn exchanges(messages: &Json) -> Vec<usize> {
    let all = messages.as_array().map_or(&[][..], Vec::as_slice);
    let is_asked = |message: &Json| message.get("role").and_then(Json::as_str) == Some("user");
    (0..all.len()).filter(|at| is_asked(&all[*at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_loses_whole_quarters_behind_its_first_tokens() {
        let mut tokens: Vec<u32> = (0..130).collect();
        assert_eq!(shorten(&mut tokens, 128, Some(8)), 32);
        assert_eq!((tokens.len(), &tokens[..6]), (98, &[0, 1, 2, 3, 36, 37][..]));
        // A longer one of the same text loses the same, until that is no longer enough.
        let mut longer: Vec<u32> = (0..150).collect();
        assert_eq!(shorten(&mut longer, 128, Some(8)), 32);
        assert_eq!(tokens[..], longer[..98]);
        assert_eq!(shorten(&mut (0..153).collect(), 128, Some(8)), 64);
        assert_eq!(shorten(&mut (0..96).collect(), 128, None), 0);
        assert_eq!(shorten(&mut (0..97).collect(), 128, None), 32);
        assert_eq!(shorten(&mut vec![1], 1, None), 0, "the last token is never left out");
    }

    #[test]
    fn a_full_context_keeps_its_prompt_or_the_first_tokens() {
        let mut history: Vec<u32> = (0..128).collect();
        assert_eq!(shift(&mut history, 28), (28, 50));
        assert_eq!((history.len(), history[27], history[28]), (78, 27, 78));
        let mut history: Vec<u32> = (0..128).collect();
        assert_eq!(shift(&mut history, 100), (4, 62));
        assert_eq!((history.len(), history[3], history[4]), (66, 3, 66));
        assert_eq!(shift(&mut vec![1, 2], 2), (1, 0), "too small to shift");
    }

    #[test]
    fn exchanges_begin_where_the_person_speaks() {
        let message = |role: &str| json!({"role": role, "content": "x"});
        let roles = ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"];
        assert_eq!(exchanges(&roles.map(message).into_iter().collect()), [1, 5, 7]);
        assert!(exchanges(&json!("x")).is_empty());
    }
}
