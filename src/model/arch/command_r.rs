//! Command R and R7B (`command-r`, `cohere2`): attention and feed-forward side by side after one norm, and scaled
//! logits. In the second, layers slide over a window, and only those rotate; it has mixtures of experts (`cohere2moe`), too.

use crate::error::Result;
use crate::model::blocks::{
    FeedForward, attend, experts, feed_forward, join_experts, norm_heads, project_qkv, rotate, route, shared_output,
};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Mask, Op, RESIDUAL};

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

/// Of mixtures of experts. Layers before them rotate even where they do not slide.
pub fn configure_experts(c: &mut Config, keys: &Keys) -> Result<()> {
    c.norm_by_file(keys)?;
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.read_routing(keys, 2)?;
    configure(c, keys)?;
    // Here it is the first of every few that sees everything.
    let window = keys.size("attention.sliding_window", 0, usize::MAX, Some(0))?;
    if window > 0 {
        c.slide_but_first(keys, 4, Mask::Window(window))?;
    }
    for shape in c.layers.iter_mut().filter(|shape| shape.mask == Mask::Causal && shape.experts.is_some()) {
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

pub fn layer_of_experts(b: &mut Builder, l: &Layer) -> Result<()> {
    let Some(shape) = &l.shape.experts else { return layer_sliding(b, l) };
    let s = l.slots;
    attention_block(b, l)?;
    if shape.shared_feed_forward == 0 {
        return experts(b, l, FeedForward::SCALED, s.normed, s.normed);
    }
    // Half of what both make: those that every token uses, and those that are chosen.
    route(b, l, s.normed)?;
    shared_output(b, l, FeedForward::SCALED, s.normed)?;
    join_experts(b, l, FeedForward::SCALED, s.normed, s.output)?;
    b.push(Op::Scale { slot: s.output, factor: 0.5 });
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}

fn side_by_side(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    attention_block(b, l)?;
    feed_forward(b, l, kind, l.slots.normed, RESIDUAL, true)
}

/// Attention and what it adds to the residual stream.
fn attention_block(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    if b.has(&l.name("attn_q_norm.weight")) {
        norm_heads(b, l)?;
    }
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)
}
