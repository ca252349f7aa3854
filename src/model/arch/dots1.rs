//! dots.llm1: Qwen 3's attention; after the first layers, experts by sigmoid with a bias of their choice, beside
//! others that every token uses.

use crate::error::Result;
use crate::model::blocks::{FeedForward, experts, feed_forward, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Mask, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.read_routing(keys, 2)
}

/// Of EXAONE's mixtures, three of four of whose layers slide over a window, and only those rotate.
pub fn configure_sliding(c: &mut Config, keys: &Keys) -> Result<()> {
    configure(c, keys)?;
    c.slide(keys, 4)?;
    for shape in c.layers.iter_mut().filter(|shape| shape.mask == Mask::Causal) {
        shape.rope = None;
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    super::qwen3::attention_block(b, l)?;
    let s = l.slots;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => {
            experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
            shared_experts(b, l, FeedForward::SWIGLU, s.normed)
        }
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}
