//! PLM: latent attention, and a feed-forward by squares without a gate.

use crate::error::Result;
use crate::model::blocks::{FeedForward, feed_forward, latent_attention};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_latent(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    let attended = latent_attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::plain(Activation::ReluSquared), s.normed, RESIDUAL, true)
}
