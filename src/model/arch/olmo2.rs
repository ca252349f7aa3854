//! OLMo 2 and 3: norms over all queries and all keys, and after each block in place of before it.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.slide(keys, 4)?;
    // YaRN is for the layers that see everything.
    for rope in c.sliding().filter_map(|shape| shape.rope.as_mut()) {
        (rope.frequency_scale, rope.extrapolation, rope.attention_factor) = (1.0, 0.0, 1.0);
    }
    Ok(())
}

/// Norms over all queries and all keys, between projection and rotation.
pub fn attention(b: &mut Builder, l: &Layer, src: crate::program::Slot) -> Result<()> {
    let s = l.slots;
    project_qkv(b, l, src)?;
    b.norm(&l.name("attn_q_norm"), s.query, s.query)?;
    b.norm(&l.name("attn_k_norm"), s.key, s.key)?;
    rotate(b, l)?;
    attend(b, l)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    attention(b, l, RESIDUAL)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    feed_forward(b, l, FeedForward::SWIGLU, RESIDUAL, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
