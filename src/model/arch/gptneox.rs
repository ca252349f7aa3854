//! GPT-NeoX, Pythia and Dolly: attention and feed-forward side by side, each after a norm of its own, where the
//! file says so; else one after the other.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.is_parallel = keys.flag("use_parallel_residual", true)?;
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    if !b.config.is_parallel {
        return super::starcoder2::layer(b, l);
    }
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    b.join(s.output);
    feed_forward(b, l, FeedForward::plain(Activation::Gelu), s.normed, RESIDUAL, true)
}
