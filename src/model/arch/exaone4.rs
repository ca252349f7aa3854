//! EXAONE 4: norms over heads and after each block; of the larger model three of four layers slide over a window,
//! and only those rotate.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Mask, Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    // A window that a smaller model's file tells of is not used.
    if c.layers.len() != 64 {
        return Ok(());
    }
    c.slide(keys, 4)?;
    for shape in c.layers.iter_mut().filter(|shape| shape.mask == Mask::Causal) {
        shape.rope = None;
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    project_qkv(b, l, RESIDUAL)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    feed_forward(b, l, FeedForward::SWIGLU, RESIDUAL, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
