//! Nemotron 49B, 51B and Ultra, and DeciLM: Llama with heads and widths of their own in each layer. In some a product
//! stands in the place of attention, or nothing, or there is no feed-forward.

use crate::error::{ChordError, Result};
use crate::model::blocks::{FeedForward, attention, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.recur_without_heads(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, shape) = (l.slots, l.shape);
    if shape.heads > 0 && shape.feed_forward == 0 {
        return Err(ChordError::model("a layer of attention alone is not supported").with("layer", l.index));
    }
    if shape.heads > 0 {
        b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
        match shape.mixer {
            Mixer::Attention => {
                attention(b, l, s.normed)?;
                b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
            }
            Mixer::Recurrent | Mixer::None => b.linear_add(&l.name("attn_output"), s.normed, RESIDUAL)?,
        }
    }
    if shape.feed_forward == 0 {
        return Ok(());
    }
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
