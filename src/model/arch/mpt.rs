//! MPT: ALiBi or a table of positions, limits of queries, keys and values, and in some models norms over all of
//! them.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, attend, feed_forward, project_qkv};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    let alibi = keys.nonzero("attention.max_alibi_bias")?;
    let clamp = keys.nonzero("attention.clamp_kqv")?;
    for shape in &mut c.layers {
        (shape.rope, shape.alibi, shape.clamp) = (None, alibi, clamp);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    for (name, slot) in [("attn_q_norm", s.query), ("attn_k_norm", s.key)] {
        if b.has(&l.name(&format!("{name}.weight"))) {
            b.norm(&l.name(name), slot, slot)?;
        }
    }
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    if b.has(&l.name("ffn.act.scales")) || b.has(&l.name("ffn.act.weight")) {
        let text = "mpt with scales of the activations is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::plain(Activation::Gelu), s.normed, RESIDUAL, true)
}
