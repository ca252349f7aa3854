//! LFM 2 and 2.5, dense and with experts: short convolutions between two gates, and attention in a few layers.

use crate::error::Result;
use crate::model::blocks::{
    FeedForward, attend, experts, feed_forward, multiply, norm_heads, project_qkv, rotate, short_conv, take_columns,
};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, KERNEL_MAX};
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Mask, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.layers.iter_mut().for_each(|shape| shape.experts = None);
    shared(c, keys)?;
    let window = keys.size("attention.sliding_window", 0, usize::MAX, Some(0))?;
    if window > 0 {
        c.layers.iter_mut().for_each(|shape| shape.mask = Mask::Window(window));
    }
    Ok(())
}

pub fn configure_experts(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    c.read_routing(keys, 2)?;
    c.experts().for_each(|experts| experts.normalise = true);
    shared(c, keys)
}

fn shared(c: &mut Config, keys: &Keys) -> Result<()> {
    c.output_norm = "token_embd_norm";
    c.recurrence.kernel = keys.size("shortconv.l_cache", 2, KERNEL_MAX, None)?;
    c.recur_without_heads(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => convolution(b, l)?,
        Mixer::Attention => {
            project_qkv(b, l, s.normed)?;
            norm_heads(b, l)?;
            rotate(b, l)?;
            attend(b, l)?;
            b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;
        }
    }
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => experts(b, l, FeedForward::SWIGLU, s.normed, s.normed),
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}

/// residual += out·(c · conv(b · x)), where b, c and x are three parts of one projection.
fn convolution(b: &mut Builder, l: &Layer) -> Result<()> {
    let (normed, width, kernel) = (l.slots.normed, b.config.embedding, b.config.recurrence.kernel);
    let all = b.slot("convolution inputs", 3 * width);
    let [before, after, values] = ["gate before", "gate after", "convolved"].map(|name| b.slot(name, width));
    b.linear(&l.name("shortconv.in_proj"), normed, all)?;
    take_columns(b, all, 0, before);
    take_columns(b, all, width, after);
    take_columns(b, all, 2 * width, values);
    multiply(b, values, before);
    short_conv(b, &l.name("shortconv.conv"), kernel, values)?;
    multiply(b, values, after);
    b.linear_add(&l.name("shortconv.out_proj"), values, RESIDUAL)
}
