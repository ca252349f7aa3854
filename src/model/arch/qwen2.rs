//! Qwen 2 and 2.5: Llama with biases of queries, keys and values.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

/// Of the models that see: a bias of the logits is not used.
pub fn configure_vision(c: &mut Config, _: &Keys) -> Result<()> {
    c.has_output_bias = false;
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
