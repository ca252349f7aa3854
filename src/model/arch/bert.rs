//! BERT and its kin: encoders with a norm after each block, and tables of types and positions, rotation, or ALiBi.

use crate::error::Result;
use crate::model::blocks::{FeedForward, Form, attention_ahead, experts, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, LAYERS_MAX};
use crate::model::keys::Keys;
use crate::program::{Activation, Op, RESIDUAL};

/// The bias of ALiBi, which files do not say.
const ALIBI: f32 = 8.0;

/// BERT: a table of positions.
pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.look_ahead();
    c.layers.iter_mut().for_each(|shape| shape.rope = None);
    Ok(())
}

/// Nomic's, and the third of Jina's: rotation.
pub fn configure_rotating(c: &mut Config, _: &Keys) -> Result<()> {
    c.look_ahead();
    Ok(())
}

/// Nomic's with a mixture of experts in every few layers.
pub fn configure_experts(c: &mut Config, keys: &Keys) -> Result<()> {
    c.look_ahead();
    let period = keys.size("moe_every_n_layers", 0, LAYERS_MAX, Some(0))?;
    c.experts().for_each(|experts| experts.normalise = false);
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        if period == 0 || layer % period != 1 {
            shape.experts = None;
        }
    }
    Ok(())
}

/// The second of Jina's.
pub fn configure_alibi(c: &mut Config, keys: &Keys) -> Result<()> {
    configure(c, keys)?;
    c.layers.iter_mut().for_each(|shape| shape.alibi = Some(ALIBI));
    Ok(())
}

/// A feed-forward without a gate.
pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    layer_of(b, l, FeedForward::plain(Activation::Gelu))
}

/// A gate by SiLU.
pub fn layer_gated(b: &mut Builder, l: &Layer) -> Result<()> {
    layer_of(b, l, FeedForward::SWIGLU)
}

/// A gate by GELU, or none, as the tensors are.
pub fn layer_alibi(b: &mut Builder, l: &Layer) -> Result<()> {
    let is_plain = !b.has(&l.name("ffn_gate.weight")) && b.rows(&l.name("ffn_up.weight"))? == l.shape.feed_forward;
    let form = if is_plain { Form::Plain } else { Form::Gated };
    layer_of(b, l, FeedForward { form, ..FeedForward::GEGLU })
}

fn layer_of(b: &mut Builder, l: &Layer, kind: FeedForward) -> Result<()> {
    let s = l.slots;
    attention_ahead(b, l, None)?;
    if b.has(&l.name("attn_norm_2.weight")) {
        // The residual stream joins twice, each time before a norm.
        b.linear(&l.name("attn_output"), s.attended, s.output)?;
        b.push(Op::Add { src: RESIDUAL, dst: s.output });
        b.norm(&l.name("attn_output_norm"), s.output, s.output)?;
        b.push(Op::Add { src: s.output, dst: RESIDUAL });
        b.norm(&l.name("attn_norm_2"), RESIDUAL, RESIDUAL)?;
    } else {
        b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
        b.norm(&l.name("attn_output_norm"), RESIDUAL, RESIDUAL)?;
    }
    match l.shape.experts {
        // The experts' outputs join what they read.
        Some(_) => experts(b, l, kind, RESIDUAL, RESIDUAL)?,
        None => feed_forward(b, l, kind, RESIDUAL, RESIDUAL, true)?,
    }
    b.norm(&l.name("layer_output_norm"), RESIDUAL, RESIDUAL)
}
