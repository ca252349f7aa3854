//! StableLM: layer norms, also over heads where the file has them; without a norm of its own the feed-forward
//! stands beside attention.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    if b.has(&l.name("attn_q_norm.weight")) {
        norm_heads(b, l)?;
    }
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    if b.has(&l.name("ffn_norm.weight")) {
        b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    }
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
