//! Falcon H1: attention and Mamba 2 side by side in every layer.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, feed_forward, mamba2};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Epilogue, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.layers.iter_mut().for_each(|shape| shape.has_rope_factors = false);
    c.read_recurrence(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    let mixed = mamba2(b, l, s.normed)?;
    attention(b, l, s.normed)?;
    // A bias of this projection, which some files have, is not used.
    let epilogue = b.epilogue(&l.name("attn_output"), b.config.embedding)?;
    let epilogue = Epilogue { bias: None, accumulate: true, ..epilogue };
    b.project(&l.name("attn_output"), s.attended, RESIDUAL, epilogue)?;
    b.linear_add(&l.name("ssm_out"), mixed, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
