//! Gemma 3: norms over heads and after each block, GELU, and layers that slide over a window.

use super::blocks::{Slots, attend, feed_forward, norm_heads, project_qkv};
use super::builder::Builder;
use crate::error::Result;
use crate::program::{Activation, Op, RESIDUAL, RopeId};

pub fn layer(b: &mut Builder, s: &Slots, layer: usize, rope: RopeId) -> Result<()> {
    let p = &format!("blk.{layer}.");
    let width = b.config.embedding;
    b.norm(&format!("{p}attn_norm"), RESIDUAL, s.normed, width)?;
    project_qkv(b, s, p)?;
    norm_heads(b, s, p)?;
    attend(b, s, layer, rope);
    b.linear(&format!("{p}attn_output"), s.attended, s.output)?;
    b.norm(&format!("{p}post_attention_norm"), s.output, s.output, width)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&format!("{p}ffn_norm"), RESIDUAL, s.normed, width)?;
    feed_forward(b, s, p, Activation::Gelu, false, s.output, false)?;
    b.norm(&format!("{p}post_ffw_norm"), s.output, s.output, width)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
