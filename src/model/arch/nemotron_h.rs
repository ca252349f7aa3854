//! Nemotron H, dense and with experts: each layer is one of Mamba 2, attention without rotation, and a feed-forward
//! by squares.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, Form, attention, experts, feed_forward, mamba2, shared_experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Activation, RESIDUAL, Scores};

const SQUARES: FeedForward = FeedForward { form: Form::Plain, activation: Activation::ReluSquared, scaled: true };

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.epsilon = keys.float("attention.layer_norm_rms_epsilon", keys.float("attention.layer_norm_epsilon", 1e-5)?)?;
    c.read_recurrence(keys)?;
    c.recur_without_heads(keys)?;
    if keys.size("moe_latent_size", 0, usize::MAX, Some(0))? > 0 {
        let text = "nemotron_h with experts over a narrower row than the model's is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    let normalise = keys.flag("expert_weights_norm", false)?;
    c.experts().for_each(|experts| (experts.scores, experts.normalise) = (Scores::Sigmoid, normalise));
    for shape in &mut c.layers {
        shape.rope = None;
        if shape.feed_forward > 0 {
            shape.mixer = Mixer::None;
        }
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent => {
            let mixed = mamba2(b, l, s.normed)?;
            b.linear_add(&l.name("ssm_out"), mixed, RESIDUAL)
        }
        Mixer::Attention => {
            attention(b, l, s.normed)?;
            b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)
        }
        Mixer::None if l.shape.experts.is_some() => {
            experts(b, l, SQUARES, s.normed, s.normed)?;
            shared_experts(b, l, SQUARES, s.normed)
        }
        Mixer::None => feed_forward(b, l, SQUARES, s.normed, RESIDUAL, true),
    }
}
