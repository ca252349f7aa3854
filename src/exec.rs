//! What the executors of a program (`cpu`, `gpu`) and their callers agree on: a batch, what is wanted of
//! it, and whether the results are there.

use std::ops::Range;

/// Consecutive tokens of the sequence.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    /// Position of the first in the sequence.
    pub position: usize,
    /// Their rows of the residual stream.
    pub rows: Range<usize>,
}

/// How a backend that samples itself chooses a token: the sampler's fields for one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 1 is greedy.
    pub top_k: u32,
    pub temperature: f32,
    pub top_p: f32,
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

/// Whether the results of a pass are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    Pending,
    Ready,
    /// The device is gone, with all that was on it.
    Lost,
}
