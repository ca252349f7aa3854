//! The shape of a layer: whatever may differ between the layers of one model.

use crate::program::{Mask, Rope, Scores};

/// What lets a layer's tokens know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixer {
    /// Keys and values of the tokens before, weighed by a softmax.
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
    /// Heads, each with a matrix of its own.
    pub heads: usize,
    /// Groups of heads that share keys and queries.
    pub groups: usize,
    /// Whether steps, keys and queries of Mamba 1 are normalised.
    pub normalises: bool,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct LayerShape {
    /// Which of the kinds it is.
    pub mixer: Mixer,
    /// Heads of queries; 0 in a layer that does not attend.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head of queries and of keys.
    pub key_length: usize,
    /// Values of a head of values.
    pub value_length: usize,
    /// Scale of attention scores.
    pub attention_scale: f32,
    /// Which positions a token sees.
    pub mask: Mask,
    /// Soft cap of attention scores.
    pub softcap: Option<f32>,
    /// The largest bias of ALiBi.
    pub alibi: Option<f32>,
    /// Limit of queries, keys and values.
    pub clamp: Option<f32>,
    /// How queries and keys rotate, if they do.
    pub rope: Option<Rope>,
    /// Whether the file's divisors of frequencies are used, where it has them.
    pub has_rope_factors: bool,
    /// The layer whose keys and values it attends to, if they are not its own.
    pub shares: Option<usize>,
    /// Inner width of the feed-forward.
    pub feed_forward: usize,
    /// Factors of xIELU, where that is its activation: of squares above zero, of the exponential below, and of all.
    pub xielu: [f32; 3],
    /// Gates pass only what exceeds their mean by so many standard deviations.
    pub excess: Option<f32>,
    /// The mixture of experts, if it has one.
    pub experts: Option<Experts>,
}

/// A layer's mixture of experts.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Experts that the router chooses among.
    pub count: usize,
    /// Experts that it chooses for each token.
    pub used: usize,
    /// Inner width of an expert.
    pub feed_forward: usize,
    /// Inner width of the experts that every token uses, all together; 0 where there are none.
    pub shared_feed_forward: usize,
    /// What logits become before the choice.
    pub scores: Scores,
    /// Whether the weights of the chosen are divided by their sum.
    pub normalise: bool,
    /// Scale of the experts' weights after routing.
    pub scale: f32,
}
