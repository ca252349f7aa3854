//! Jamba: Mamba 1, attention without rotation in a few layers, and experts in every other one.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, feed_forward, mamba};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_recurrence(keys)?;
    c.recur_without_heads(keys)?;
    c.experts().for_each(|experts| experts.normalise = false);
    c.layers.iter_mut().for_each(|shape| shape.rope = None);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => {
            let mixed = mamba(b, l, s.normed)?;
            b.linear_add(&l.name("ssm_out"), mixed, RESIDUAL)?;
        }
        Mixer::Attention => {
            attention(b, l, s.normed)?;
            b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
        }
    }
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match b.has(&l.name("ffn_gate_inp.weight")) {
        true => experts(b, l, FeedForward::SWIGLU, s.normed, s.normed),
        false => {
            let dense = l.dense(b);
            feed_forward(b, &dense, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
        }
    }
}
