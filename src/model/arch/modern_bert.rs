//! ModernBERT, EuroBERT and NeoBERT: encoders with a norm before each block, as decoders have it.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, attention_ahead, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

/// All but the first of every few layers see a window that goes both ways, and rotate by a base of their own.
pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.look_ahead();
    c.slide_both_ways(keys, Config::slide_but_first, 3)?;
    for rope in c.sliding().filter_map(|shape| shape.rope.as_mut()) {
        rope.base = keys.float("rope.freq_base_swa", rope.base)?;
    }
    c.uses_silu = match keys.metadata.opt_str(&keys.key("hidden_activation"))? {
        None | Some("gelu") => false,
        Some("silu") => true,
        Some(other) => {
            let text = format!("the activation '{other}' is not supported in this architecture");
            return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
        }
    };
    if c.ranks {
        let text = "a classifier of the mean of all hidden states is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    Ok(())
}

/// EuroBERT.
pub fn configure_euro(c: &mut Config, _: &Keys) -> Result<()> {
    c.look_ahead();
    Ok(())
}

/// NeoBERT.
pub fn configure_neo(c: &mut Config, _: &Keys) -> Result<()> {
    c.look_ahead();
    c.output_norm = "enc.output_norm";
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let kind = if b.config.uses_silu { FeedForward::SWIGLU } else { FeedForward::GEGLU };
    layer_of(b, l, kind)
}

/// A gate by SiLU.
pub fn layer_silu(b: &mut Builder, l: &Layer) -> Result<()> {
    layer_of(b, l, FeedForward::SWIGLU)
}

fn layer_of(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    let s = l.slots;
    attention_ahead(b, l, Some("attn_norm"))?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, kind, s.normed, RESIDUAL, true)
}
