//! MiMo 2: layers that slide over a window, by a base of their own and with attention sinks, a factor of attention's
//! output, and experts by sigmoid with a bias of their choice, in those layers that have a router.

use super::gemma3;
use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, experts, feed_forward, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Epilogue, Op, RESIDUAL, Scores};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.slide(keys, 1)?;
    gemma3::rotate_sliding(c, keys)?;
    c.experts().for_each(|experts| experts.scores = Scores::Sigmoid);
    c.layers.iter_mut().for_each(|shape| shape.has_rope_factors = false);
    c.value_scale = keys.nonzero("attention.value_scale")?.unwrap_or(1.0);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    for (name, slot) in [("attn_q", s.query), ("attn_k", s.key), ("attn_v", s.value)] {
        b.project(&l.name(name), s.normed, slot, Epilogue::default())?;
    }
    rotate(b, l)?;
    attend(b, l)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    if b.config.value_scale != 1.0 {
        b.push(Op::Scale { slot: s.output, factor: b.config.value_scale });
    }
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    if b.has(&l.name("ffn_gate_inp.weight")) {
        return experts(b, l, FeedForward::SWIGLU, s.normed, s.normed);
    }
    let dense = l.dense(b);
    feed_forward(b, &dense, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
