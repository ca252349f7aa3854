//! Command R and R7B (`command-r`, `cohere2`): attention and feed-forward side by side after one norm, and scaled
//! logits. In the second, layers slide over a window, and only those rotate.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Mask, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.logit_scale = keys.nonzero("logit_scale")?.unwrap_or(1.0);
    Ok(())
}

pub fn configure_sliding(c: &mut Config, keys: &Keys) -> Result<()> {
    configure(c, keys)?;
    c.slide(keys, 4)?;
    for shape in c.layers.iter_mut().filter(|shape| shape.mask == Mask::Causal) {
        shape.rope = None;
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    side_by_side(b, l, FeedForward::SWIGLU)
}

pub fn layer_sliding(b: &mut Builder, l: &Layer) -> Result<()> {
    side_by_side(b, l, FeedForward::SCALED)
}

fn side_by_side(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    if b.has(&l.name("attn_q_norm.weight")) {
        norm_heads(b, l)?;
    }
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
    feed_forward(b, l, kind, s.normed, RESIDUAL, true)
}
