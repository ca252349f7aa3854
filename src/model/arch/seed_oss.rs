//! Seed OSS: Llama with biases, whose norm before the feed-forward is called one after attention.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("post_attention_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
