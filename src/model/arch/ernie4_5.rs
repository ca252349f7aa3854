//! ERNIE 4.5, dense and with experts in every so many layers after the first, which are chosen with a bias.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts, feed_forward, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Epilogue, RESIDUAL};

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.layers.iter_mut().for_each(|shape| shape.experts = None);
    Ok(())
}

pub fn configure_experts(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    let step = keys.size("interleave_moe_layer_step", 1, usize::MAX, Some(1))?;
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        if !(layer + 1).is_multiple_of(step) {
            shape.experts = None;
        }
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    // A bias of this projection, which some files have, is not used.
    let epilogue = b.epilogue(&l.name("attn_output"), b.config.embedding)?;
    let epilogue = Epilogue { bias: None, accumulate: true, ..epilogue };
    b.project(&l.name("attn_output"), s.attended, RESIDUAL, epilogue)?;

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
