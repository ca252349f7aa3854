//! Llama 2 and 3.x, Mistral, SmolLM2, TinyLlama and Mixtral.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, attention, experts, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

/// Of Mistral 3, whose scores may be tempered by the position, which is not supported.
pub fn configure_tempered(_: &mut Config, keys: &Keys) -> Result<()> {
    match keys.nonzero("attention.temperature_scale")? {
        None => Ok(()),
        Some(_) => {
            let text = "scores that are tempered by the position are not supported";
            Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text))
        }
    }
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => experts(b, l, FeedForward::SCALED, s.normed, s.normed),
        None => feed_forward(b, l, FeedForward::SCALED, s.normed, RESIDUAL, true),
    }
}
