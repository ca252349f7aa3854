//! Llama 2 and 3.x, Mistral, SmolLM2, TinyLlama and Mixtral.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

/// Of Mistral 3. Under YaRN the file may say by how much rotations grow with the context, beside what they do anyway.
pub fn configure_tempered(c: &mut Config, keys: &Keys) -> Result<()> {
    let by_log = keys.float("rope.scaling.yarn_log_multiplier", 0.0)?;
    for rope in c.layers.iter_mut().filter_map(|shape| shape.rope.as_mut()).filter(|rope| rope.extrapolation != 0.0) {
        rope.attention_factor /= 1.0 + 0.1 * by_log * (1.0 / rope.frequency_scale).max(1.0).ln();
    }
    c.end_where_tempered(keys)
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
