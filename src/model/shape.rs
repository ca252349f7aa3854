//! The shape of a layer: whatever may differ between the layers of one model.

use crate::program::{Mask, Rope, Scores};

/// One layer.
#[derive(Clone, Debug)]
pub struct LayerShape {
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
    /// How queries and keys rotate, if they do.
    pub rope: Option<Rope>,
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
