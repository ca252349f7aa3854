//! Kimi Linear: delta rules that forget each key by a factor of its own, and latent attention without rotation.

use crate::error::{ChordError, Result};
use crate::model::blocks::{latent_attention, normalise_keys, short_conv};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, WIDTH_MAX};
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Activation, Epilogue, Op, RESIDUAL, State};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.lead_dense(keys)?;
    c.share_by_count(keys)?;
    c.read_routing(keys, 2)?;
    c.experts().for_each(|experts| experts.normalise = true);
    c.recur_without_heads(keys)?;
    c.read_latent(keys)?;
    c.layers.iter_mut().for_each(|shape| shape.rope = None);
    c.recurrence.kernel = keys.size("ssm.conv_kernel", 2, crate::model::config::KERNEL_MAX, None)?;
    c.recurrence.state = keys.size("kda.head_dim", 1, WIDTH_MAX, None)?;
    // Recurrent layers may say that they have no heads: they have as many as the first layer.
    c.recurrence.heads = c.layers.iter().map(|shape| shape.heads).find(|heads| *heads > 0).unwrap_or(0);
    match c.recurrence.heads {
        0 => Err(ChordError::model("no layer says how many heads it has")),
        _ => Ok(()),
    }
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => delta(b, l)?,
        Mixer::Attention => {
            let attended = latent_attention(b, l, s.normed)?;
            b.linear_add(&l.name("attn_output"), attended, RESIDUAL)?;
        }
    }
    super::deepseek2::feed(b, l)
}

/// residual += out·(norm(what the delta rule answers) · sigmoid(gate))
fn delta(b: &mut Builder, l: &Layer) -> Result<()> {
    let (normed, r) = (l.slots.normed, b.config.recurrence);
    let (heads, dim, width) = (r.heads, r.state, r.heads * r.state);
    let plain = |b: &mut Builder, name: &str, src, dst| b.project(&l.name(name), src, dst, Epilogue::default());
    let [query, key, value, decay, gate, output] =
        ["delta query", "delta key", "delta value", "delta decay", "delta gate", "delta output"]
            .map(|name| b.slot(name, width));
    if b.has(&l.name("attn_qkv.weight")) {
        b.fused(&l.name("attn_qkv"), normed, &[query, key, value], false)?;
    } else {
        for (name, slot) in [("attn_q", query), ("attn_k", key), ("attn_v", value)] {
            plain(b, name, normed, slot)?;
        }
    }
    for (name, slot) in [("ssm_conv1d_q", query), ("ssm_conv1d_k", key), ("ssm_conv1d_v", value)] {
        short_conv(b, &l.name(name), r.kernel, slot)?;
        b.push(Op::Activate { slot, activation: Activation::Silu });
    }
    normalise_keys(b, query, key, dim);
    for (name, dst) in [("ssm_f", decay), ("ssm_g", gate)] {
        let narrow = b.rows(&l.name(&format!("{name}_a.weight")))?;
        let narrow = b.slot("delta narrow", narrow);
        plain(b, &format!("{name}_a"), normed, narrow)?;
        plain(b, &format!("{name}_b"), narrow, dst)?;
    }
    let beta = b.slot("delta beta", heads);
    plain(b, "ssm_beta", normed, beta)?;
    let state = b.state(State::Recurrent { heads, rows: dim, columns: dim });
    let bias = b.vector(&l.name("ssm_dt.bias"), width)?;
    let rate = b.vector(&l.name("ssm_a"), heads)?;
    let dst = output;
    b.push(Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups: heads, interleaved: false });
    b.norm_runs(&l.name("ssm_norm"), output, output, dim)?;
    b.push(Op::Gate { gate, up: output, activation: Activation::Sigmoid });
    b.project(&l.name("attn_output"), gate, RESIDUAL, Epilogue { accumulate: true, ..Epilogue::default() })
}
