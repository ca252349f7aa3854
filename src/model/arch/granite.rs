//! Granite 3 and 4, dense and with experts: Llama with factors of embedding, residuals, scores and logits.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, feed_forward, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = keys.nonzero("embedding_scale")?.unwrap_or(1.0);
    c.residual_scale = keys.nonzero("residual_scale")?.unwrap_or(1.0);
    c.logit_scale = 1.0 / keys.nonzero("logit_scale")?.unwrap_or(1.0);
    // Dense models and hybrids use this key to say that they do not rotate.
    if ["granite", "granitehybrid"].contains(&c.architecture.name) && !keys.flag("rope.scaling.finetuned", true)? {
        c.layers.iter_mut().for_each(|shape| shape.rope = None);
    }
    Ok(())
}

/// Of models with attention sinks, some of whose layers slide over a window, and not all of which rotate.
pub fn configure_sliding(c: &mut Config, keys: &Keys) -> Result<()> {
    configure(c, keys)?;
    c.slide(keys, 1)?;
    let rotates = keys.metadata.opt_bool_or_array(&keys.key("attention.rope_pattern"), c.layers.len())?;
    for (shape, _) in c.layers.iter_mut().zip(rotates.into_iter().flatten()).filter(|(_, rotates)| !rotates) {
        shape.rope = None;
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.join(s.output);
    feed(b, l)
}

/// The feed-forward, which the hybrids have too.
pub fn feed(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match &l.shape.experts {
        Some(shape) => {
            experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
            if shape.shared_feed_forward > 0 {
                shared_experts(b, l, FeedForward::SWIGLU, s.normed)?;
            }
        }
        None => {
            feed_forward(b, l, FeedForward::SWIGLU, s.normed, s.output, false)?;
            b.join(s.output);
        }
    }
    Ok(())
}
