//! Gemma 3: norms over heads and after each block, GELU, and five of six layers that slide over a window, with a
//! rope base of their own and no scaling.

use super::gemma2;
use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.final_softcap = keys.nonzero("final_logit_softcapping")?;
    if c.layers.len() == 62 {
        // The 27B model scales by the width per head of the residual stream instead of the head's.
        let embedding = c.embedding;
        let scale = |heads: usize| 1.0 / ((embedding / heads) as f32).sqrt();
        c.layers.iter_mut().for_each(|shape| shape.attention_scale = scale(shape.heads));
    }
    c.slide(keys, 6)?;
    rotate_sliding(c, keys)
}

/// Layers that slide rotate by a base of their own and are not scaled.
pub fn rotate_sliding(c: &mut Config, keys: &Keys) -> Result<()> {
    let base = keys.float("rope.freq_base_swa", 10_000.0)?;
    for rope in c.sliding().filter_map(|shape| shape.rope.as_mut()) {
        (rope.base, rope.frequency_scale) = (base, 1.0);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    gemma2::behind_attention(b, l, FeedForward::GEGLU)
}
