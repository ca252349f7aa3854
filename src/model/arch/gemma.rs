//! Gemma 1: a scaled embedding, and GELU.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    for shape in &mut c.layers {
        shape.attention_scale = 1.0 / (shape.key_length as f32).sqrt();
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::GEGLU, s.normed, RESIDUAL, true)
}
