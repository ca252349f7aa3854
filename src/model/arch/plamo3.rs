//! PLaMo 3: norms over heads, before and after each block, one projection of queries, keys and values, and seven of eight
//! layers that slide over a window, by a base of their own.

use super::gemma3;
use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.slide(keys, 8)?;
    gemma3::rotate_sliding(c, keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
