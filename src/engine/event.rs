//! What a step of a request came to, as the owner hears it.

use super::sequence::Tally;
use crate::answer::CallDelta;
use serde::Serialize;

/// What a step came to.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "StepEvent"))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// The bytes of a group are needed.
    Wait {
        /// Its number.
        group: usize,
    },
    /// The device computes: step again when it wakes the owner.
    Device,
    /// The device is gone: attach another, or the CPU, and step again.
    Lost,
    /// A part of the prompt was computed.
    Work,
    /// A token was chosen; its text may be held back until it is whole, and no stop string or mark of a call.
    Token {
        /// Which of the `n` choices.
        choice: usize,
        /// More of the answer.
        text: String,
        /// More of the reasoning before the answer.
        #[serde(skip_serializing_if = "String::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<String>"))]
        reasoning: String,
        /// Calls of tools, and more of their arguments.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<CallDelta>>"))]
        calls: Vec<CallDelta>,
        /// The tokens whose text is released, with the alternatives that were asked for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<Logprob>>"))]
        logprobs: Vec<Logprob>,
    },
    /// A choice has ended.
    Finish {
        /// Which of the `n` choices.
        choice: usize,
        /// The last of the answer.
        text: String,
        /// The last of the reasoning.
        #[serde(skip_serializing_if = "String::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<String>"))]
        reasoning: String,
        /// The last of the calls.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<CallDelta>>"))]
        calls: Vec<CallDelta>,
        /// Why it has ended.
        finish_reason: FinishReason,
        /// The last tokens whose text is released.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<Logprob>>"))]
        logprobs: Vec<Logprob>,
    },
    /// The request has ended.
    Done {
        /// Tokens of the prompt and of all choices.
        usage: Usage,
        /// Tokens that were guessed, and those of them that were right.
        draft: Tally,
        /// What each input came to that was to be embedded.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<Vec<f32>>>"))]
        embeddings: Vec<Vec<f32>>,
        /// What each document came to.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(test, ts(optional, as = "Option<Vec<f32>>"))]
        scores: Vec<f32>,
    },
}

/// Why a choice ended. `tool_calls`: the model has called tools and waits for their results. Only chats end so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model, or a stop string, ended it.
    Stop,
    /// `max_tokens` or the context did.
    Length,
    /// The model has called tools.
    ToolCalls,
}

/// Tokens of a request, as OpenAI counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of all choices.
    pub completion_tokens: usize,
    /// Both together.
    pub total_tokens: usize,
    /// Prompt tokens whose keys and values were in the cache already.
    #[cfg_attr(test, ts(inline))]
    pub prompt_tokens_details: PromptDetails,
    /// Tokens of all choices that are told apart from their answers.
    #[cfg_attr(test, ts(inline))]
    pub completion_tokens_details: CompletionDetails,
    /// Tokens of older messages, and of the text so far, that were left out because the context was full.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(test, ts(optional, as = "Option<usize>"))]
    pub dropped_tokens: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Which of the prompt's tokens were in the cache already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PromptDetails {
    /// How many they are.
    pub cached_tokens: usize,
}

/// Which of the answers' tokens are none of what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CompletionDetails {
    /// How many are of thoughts, with the marks around them.
    pub reasoning_tokens: usize,
}

/// A token and its natural log probability under the untempered softmax.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TokenLogprob {
    /// The token's number in the vocabulary.
    pub id: u32,
    /// Its text.
    pub token: String,
    /// The bytes of its text, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// A chosen token and its best alternatives.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "CoreLogprob"))]
pub struct Logprob {
    /// The chosen token.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The alternatives, best first.
    pub top: Vec<TokenLogprob>,
}
