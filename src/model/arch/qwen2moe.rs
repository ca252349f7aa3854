//! Qwen 1.5's and 2's mixtures of experts, beside others that every token uses by a weight of their own.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, gated_shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.share_by_width();
    c.experts().for_each(|experts| experts.normalise = false);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
    gated_shared_experts(b, l, FeedForward::SWIGLU, s.normed)
}
