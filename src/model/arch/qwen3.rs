//! Qwen 3: norms over the heads of queries and keys.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

/// Attention and what it adds to the residual stream, which the mixture of experts has too.
pub fn attention_block(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    attention_block(b, l)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, l.slots.normed)?;
    feed_forward(b, l, FeedForward::SCALED, l.slots.normed, RESIDUAL, true)
}

/// Of the models that see.
pub fn layer_of_vision(b: &mut Builder, l: &Layer) -> Result<()> {
    attention_block(b, l)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, l.slots.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, l.slots.normed, RESIDUAL, true)
}
