//! DeepSeek 2 and 3 and their kin: latent attention, and after the first layers experts beside others that every token
//! uses.

use crate::error::Result;
use crate::model::blocks::{FeedForward, experts, feed_forward, latent_attention, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.read_routing(keys, 1)?;
    c.end_where_tempered(keys)?;
    c.read_latent(keys)?;
    // Under YaRN scores grow with the context, by the file's factor, and rotations keep their length then.
    let by_log = keys.float("rope.scaling.yarn_log_multiplier", 0.0)? * 10.0;
    for shape in &mut c.layers {
        let Some(rope) = shape.rope.as_mut().filter(|rope| rope.extrapolation != 0.0) else { continue };
        let log = (1.0 / rope.frequency_scale).max(1.0).ln();
        let growth = if by_log != 0.0 { 1.0 + 0.1 * by_log * log } else { 1.0 + 0.1 * log };
        shape.attention_scale *= growth * growth;
        if by_log != 0.0 {
            rope.attention_factor /= 1.0 + 0.1 * log;
        }
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    let attended = latent_attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), attended, RESIDUAL)?;
    feed(b, l)
}

/// The feed-forward, which Kimi Linear has too.
pub fn feed(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match &l.shape.experts {
        Some(shape) => {
            experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
            if shape.shared_feed_forward > 0 {
                shared_experts(b, l, FeedForward::SWIGLU, s.normed)?;
            }
            Ok(())
        }
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}
