//! Falcon: attention and feed-forward side by side; of the larger models each has a norm of its own.

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
    let second = l.name("attn_norm_2");
    let is_apart = b.has(&format!("{second}.weight"));
    // Attention has the second norm, where there is one.
    b.norm(&if is_apart { second } else { l.name("attn_norm") }, RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    if is_apart {
        b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    }
    b.join(s.output);
    feed_forward(b, l, FeedForward::plain(Activation::Gelu), s.normed, RESIDUAL, true)
}
