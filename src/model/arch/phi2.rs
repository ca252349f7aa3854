//! Phi 1 and 2: attention and feed-forward side by side after one norm, and rotation of a part of each head.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, RESIDUAL};

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
    feed_forward(b, l, FeedForward::plain(Activation::Gelu), s.normed, RESIDUAL, true)
}
