//! DBRX: layer norms, limits of queries, keys and values, and experts.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

/// Of OLMo 1, too.
pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    let clamp = keys.nonzero("attention.clamp_kqv")?;
    c.layers.iter_mut().for_each(|shape| shape.clamp = clamp);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
    b.norm(&l.name("attn_output_norm"), RESIDUAL, s.normed)?;
    experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)
}
