//! DeepSeek 1: after the first layers, experts beside others that every token uses.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, attention, experts, feed_forward, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.experts().for_each(|experts| experts.normalise = false);
    Ok(())
}

/// Of the models that read pictures, but for those that see a window of the text and all of the picture.
pub fn configure_vision(c: &mut Config, keys: &Keys) -> Result<()> {
    if keys.size("attention.sliding_window", 0, usize::MAX, Some(0))? > 0 {
        let text = "deepseek2-ocr with a window behind its picture is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.read_routing(keys, 1)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

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
