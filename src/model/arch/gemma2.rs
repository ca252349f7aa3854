//! Gemma 2: norms before and after each block, soft caps of scores and logits, and every other layer slides over
//! a window.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.final_softcap = keys.nonzero_or("final_logit_softcapping", 30.0)?;
    let softcap = keys.nonzero_or("attn_logit_softcapping", 50.0)?;
    let is_27b = c.layers.len() == 46;
    for shape in &mut c.layers {
        shape.softcap = softcap;
        // The 27B model scales by the width per head of the residual stream instead of the head's.
        let width = if is_27b { c.embedding / shape.heads } else { shape.key_length };
        shape.attention_scale = 1.0 / (width as f32).sqrt();
    }
    c.slide(keys, 2)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    behind_attention(b, l, FeedForward::GEGLU)
}

/// The rest of a layer from its attention on, with a norm after each block.
pub fn behind_attention(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    b.linear(&l.name("attn_output"), l.slots.attended, l.slots.output)?;
    behind_output(b, l, kind)
}

/// The same from what the first block made on.
pub fn behind_output(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, kind, s.normed, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
