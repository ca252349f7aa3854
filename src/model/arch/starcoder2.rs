//! StarCoder 2: layer norms, biases everywhere, and a feed-forward without a gate.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, RESIDUAL};

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    plain_layer(b, l, Activation::Gelu)
}

/// Attention, then a feed-forward without a gate, each after a norm of its own.
pub fn plain_layer(b: &mut Builder, l: &Layer, activation: Activation) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::plain(activation), s.normed, RESIDUAL, true)
}
