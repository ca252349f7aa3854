//! Models that write by filling in a text as a whole: LLaDA, Dream, their mixtures of experts, and RND1. Every token
//! attends to all others.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention_ahead, experts, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Epilogue, RESIDUAL};

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.fill_in();
    c.has_output_bias = false;
    c.layers.iter_mut().for_each(|shape| shape.has_rope_factors = false);
    Ok(())
}

/// LLaDA's experts, whose weights are not normalised.
pub fn configure_experts(c: &mut Config, _: &Keys) -> Result<()> {
    c.fill_in();
    c.experts().for_each(|experts| experts.normalise = false);
    Ok(())
}

/// LLaDA, which has biases of queries, keys and values only.
pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    attention_ahead(b, l, Some("attn_norm"))?;
    let name = l.name("attn_output");
    let epilogue = b.epilogue(&name, b.config.embedding)?;
    b.project(&name, s.attended, RESIDUAL, Epilogue { bias: None, accumulate: true, ..epilogue })?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    b.project(&l.name("ffn_gate"), s.normed, s.gate, Epilogue::default())?;
    b.project(&l.name("ffn_up"), s.normed, s.up, Epilogue::default())?;
    b.push(FeedForward::SWIGLU.activate(s.gate, s.up));
    b.project(&l.name("ffn_down"), s.gate, RESIDUAL, Epilogue { accumulate: true, ..Epilogue::default() })
}

/// The others.
pub fn layer_of_kin(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    attention_ahead(b, l, Some("attn_norm"))?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => experts(b, l, FeedForward::SWIGLU, s.normed, s.normed),
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}
