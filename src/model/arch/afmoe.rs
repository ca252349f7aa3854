//! Trinity (AFM's mixtures): norms before and after each block, a gate of attention's output, layers that slide over a
//! window and rotate but for every fourth, and after the first layers experts beside others that every token uses.

use crate::error::Result;
use crate::model::blocks::{
    FeedForward, attend, expert_output, feed_forward, join_experts, norm_heads, project_qkv, rotate, route,
    shared_output,
};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    super::dots1::configure(c, keys)?;
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.slide(keys, 4)?;
    let rotates = |layer: usize| !(layer + 1).is_multiple_of(4);
    for (_, shape) in c.layers.iter_mut().enumerate().filter(|(layer, _)| !rotates(*layer)) {
        shape.rope = None;
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
    let gate = b.slot("attention gate", b.width(s.attended));
    b.linear(&l.name("attn_gate"), s.normed, gate)?;
    b.push(Op::Gate { gate, up: s.attended, activation: Activation::Sigmoid });
    b.linear(&l.name("attn_output"), gate, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match &l.shape.experts {
        Some(shape) => {
            route(b, l, s.normed)?;
            if shape.shared_feed_forward > 0 {
                shared_output(b, l, FeedForward::SWIGLU, s.normed)?;
                join_experts(b, l, FeedForward::SWIGLU, s.normed, s.output)?;
            } else {
                expert_output(b, l, FeedForward::SWIGLU, s.normed)?;
            }
        }
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, s.output, false)?,
    }
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
