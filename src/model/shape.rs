//! The shape of a layer: whatever may differ between the layers of one model.

use crate::program::{Mask, Rope, Scores};

/// What lets a layer's tokens know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixer {
    Attention,
    /// A state that holds the whole past.
    Recurrent,
    /// Nothing: the layer is a feed-forward.
    None,
}

/// What a state that holds the whole past is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recurrence {
    /// Tokens that a short convolution sees, its own among them.
    pub kernel: usize,
    /// Width of what is kept apart from the residual stream.
    pub inner: usize,
    /// Columns of a head's matrix.
    pub state: usize,
    pub heads: usize,
    /// Groups of heads that share keys and queries.
    pub groups: usize,
    /// Whether steps, keys and queries of Mamba 1 are normalised.
    pub normalises: bool,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct LayerShape {
    pub mixer: Mixer,
    pub heads: usize,
    pub kv_heads: usize,
    pub key_length: usize,
    pub value_length: usize,
    /// Scale of attention scores.
    pub attention_scale: f32,
    pub mask: Mask,
    /// Soft cap of attention scores.
    pub softcap: Option<f32>,
    /// The largest bias of ALiBi.
    pub alibi: Option<f32>,
    /// Limit of queries, keys and values.
    pub clamp: Option<f32>,
    /// How queries and keys rotate, if they do, and whether by the file's divisors of frequencies, if it has them.
    pub rope: Option<Rope>,
    pub has_rope_factors: bool,
    /// The layer whose keys and values it attends to, if they are not its own.
    pub shares: Option<usize>,
    /// Inner width of the feed-forward.
    pub feed_forward: usize,
    pub experts: Option<Experts>,
}

/// A layer's mixture of experts.
#[derive(Clone, Debug)]
pub struct Experts {
    pub count: usize,
    pub used: usize,
    /// Inner width of an expert, and of the experts that every token uses, all together.
    pub feed_forward: usize,
    pub shared_feed_forward: usize,
    pub scores: Scores,
    pub normalise: bool,
    /// Scale of the experts' weights after routing.
    pub scale: f32,
}
