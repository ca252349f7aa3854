//! Arctic: Llama, and beside all of a layer experts that see what it begins with.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    // The file tells the width of its experts; the other feed-forward is as wide as the model.
    let width = c.embedding;
    c.layers.iter_mut().for_each(|shape| shape.feed_forward = width);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, first) = (l.slots, b.slot("seen by experts", b.config.embedding));
    b.norm(&l.name("ffn_norm_exps"), RESIDUAL, first)?;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    let dense = l.dense(b);
    feed_forward(b, &dense, FeedForward::SWIGLU, s.normed, RESIDUAL, true)?;
    experts(b, l, FeedForward::SWIGLU, first, first)
}
