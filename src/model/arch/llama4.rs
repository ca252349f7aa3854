//! Llama 4: attention in chunks but for every fourth layer, which does not rotate; norms over rotated heads; and
//! experts whose input is weighed in place of their output.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, project_qkv, rotate, shared_experts, weighed_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Mask, RESIDUAL, Scores};

/// Tokens of a chunk, and of a context from which on queries of the other layers would be tempered.
const CHUNK: usize = 8192;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    for experts in c.experts() {
        (experts.scores, experts.normalise) = (Scores::Sigmoid, false);
        experts.shared_feed_forward = experts.feed_forward;
    }
    let is_named = keys.metadata.contains(&keys.key("attention.sliding_window"));
    let is_whole = is_named && keys.size("attention.sliding_window", 0, usize::MAX, Some(0))? == 0;
    let layers = c.layers.len();
    let step = if is_whole { layers } else { 4 };
    if !is_whole {
        c.slide_by(keys, 4, Mask::Chunked(CHUNK))?;
    }
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        shape.rope.take_if(|_| (layer + 1).is_multiple_of(step));
    }
    match c.layers.iter().any(|shape| shape.rope.is_none()) {
        true => c.end_before_tempering(CHUNK),
        false => Ok(()),
    }
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    rotate(b, l)?;
    // The largest model has no norms.
    if l.shape.rope.is_some() && l.shape.experts.as_ref().is_none_or(|experts| experts.count != 128) {
        for slot in [s.query, s.key] {
            b.norm_bare(slot, l.shape.key_length, b.config.epsilon);
        }
    }
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match b.has(&l.name("ffn_gate_inp.weight")) {
        true => {
            weighed_experts(b, l, FeedForward::SWIGLU, s.normed)?;
            shared_experts(b, l, FeedForward::SWIGLU, s.normed)
        }
        false => {
            let dense = l.dense(b);
            feed_forward(b, &dense, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
        }
    }
}
