//! What the executors of a program (`cpu`, `gpu`) and their callers agree on: a batch, what is wanted of
//! it, and whether the results are there.

use serde::Serialize;
use std::ops::Range;

/// Consecutive tokens of a sequence, or of several texts, or a token each of several sequences.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Their numbers in the vocabulary.
    pub tokens: &'a [u32],
    /// Position of the first in the sequence.
    pub position: usize,
    /// Their rows of the residual stream.
    pub rows: Range<usize>,
    /// Positions that have keys when these tokens attend: up to the last token of the batch, or where tokens look ahead,
    /// of the whole pass.
    pub positions: usize,
    /// Where the state of the sequence is.
    pub lane: usize,
    /// Whose tokens they are, where they are a token each of several sequences: `position`, `positions` and `lane` say
    /// nothing then.
    pub members: &'a [Member],
    /// Where the lane has the texts that they are of, where those are several: each is a sequence of its own, and they lie
    /// one behind the other.
    pub texts: &'a [Range<usize>],
}

/// A sequence of which a batch computes one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where its state is.
    pub lane: usize,
    /// The token's position in it.
    pub position: usize,
}

/// Tokens of a batch that are of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where its state is.
    pub lane: usize,
    /// Positions of the lane before its first one.
    pub first: usize,
    /// Which of the batch's tokens.
    pub tokens: Range<usize>,
    /// Positions from that of the first of them to the last one that has keys.
    pub positions: Range<usize>,
}

impl Span {
    /// Its values of those of the batch, of so many a token.
    pub fn of(&self, width: usize) -> Range<usize> {
        self.tokens.start * width..self.tokens.end * width
    }
}

impl Batch<'_> {
    /// Its tokens by their sequences.
    pub fn spans(&self) -> impl Iterator<Item = Span> + Clone + '_ {
        let Batch { lane, position, positions, .. } = *self;
        let end = position + self.tokens.len();
        let whole = Span { lane, first: 0, tokens: 0..self.tokens.len(), positions: position..positions };
        let one = |(token, member): (usize, &Member)| {
            let Member { lane, position } = *member;
            Span { lane, first: 0, tokens: token..token + 1, positions: position..position + 1 }
        };
        let of_text = move |text: &Range<usize>| {
            let (first, from, to) = (text.start, text.start.max(position), text.end.min(end));
            let positions = from - first..text.end.min(positions) - first;
            Span { lane, first, tokens: from - position..to - position, positions }
        };
        let several = self.members.iter().enumerate().map(one);
        let is_one = self.members.is_empty() && self.texts.is_empty();
        is_one.then_some(whole).into_iter().chain(several).chain(self.texts.iter().map(of_text))
    }
}

/// How a backend that samples itself chooses a token: the sampler's fields for one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 1 is greedy.
    pub top_k: u32,
    /// Divides the logits of those that are left; above zero.
    pub temperature: f32,
    /// Keeps the likeliest tokens whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this many times as probable as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Between 0 and 1.
    pub random: f32,
}

impl Draw {
    /// The largest logit.
    pub const GREEDY: Draw = Draw { top_k: 1, temperature: 1.0, top_p: 1.0, min_p: 0.0, random: 0.0 };

    /// Largest `top_k` to draw from.
    pub const TOP_K_MAX: u32 = 64;
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The next token, chosen by the backend if it can.
    Token(Draw),
    /// All logits.
    Logits,
    /// The head's normalised input.
    Hidden,
}

/// Whether the results of a pass, or the part of another thread, are there. Crosses to JavaScript as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Not yet.
    Pending = 0,
    /// They are.
    Ready = 1,
    /// The device, or the other thread, is gone, with all that was on it.
    Lost = 2,
}

/// What a GPU is, what it was asked to do, and what it is not trusted with. One that was given up has figures of 0.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DeviceStats {
    /// Its name, where it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub adapter: Option<String>,
    /// Whether it computes on the CPU.
    pub software: bool,
    /// Whether kernels that use subgroups are in use.
    pub subgroups: bool,
    /// What prompts are multiplied in, where that is done by tiles.
    pub arithmetic: Option<&'static str>,
    /// Bytes of its largest buffer.
    pub buffer_bytes_max: usize,
    /// Dispatches of the last pass of a single token.
    pub dispatches_per_token: u64,
    /// Submits of that pass.
    pub submits_per_token: u64,
    /// Bytes that came back from that pass.
    pub readback_bytes_per_token: u64,
    /// Dispatches of that pass's first layer.
    pub dispatches_per_layer: u64,
    /// Passes that were sent before the token before them was known.
    pub passes_ahead: u64,
    /// Submits since the device was opened.
    pub submits: u64,
    /// Dispatches since then.
    pub dispatches: u64,
    /// Bytes that came back since then.
    pub readback_bytes: u64,
    /// Bytes that went to the device since then.
    pub uploaded_bytes: u64,
    /// Buffers that were made since then.
    pub buffers: u64,
    /// Bind groups that were made since then.
    pub bind_groups: u64,
    /// Kernels that are not used, and why.
    pub disabled_kernels: Vec<String>,
}
