//! PLaMo 2: a scan with few heads, or attention, between two norms each.

use super::gemma2;
use crate::error::{ChordError, Result};
use crate::model::blocks::{FeedForward, attend, copy_runs, norm_heads, rotate, short_conv};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Activation, Op, RESIDUAL, Runs, State};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_recurrence(keys)?;
    c.recur_without_heads(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => scan(b, l)?,
        Mixer::Attention => {
            b.fused(&l.name("attn_qkv"), s.normed, &[s.query, s.key, s.value], false)?;
            norm_heads(b, l)?;
            rotate(b, l)?;
            attend(b, l)?;
            b.linear(&l.name("attn_output"), s.attended, s.output)?;
        }
    }
    gemma2::behind_output(b, l, FeedForward::SWIGLU)
}

/// output = the scan of what a projection has for each head: a gate, and its input.
fn scan(b: &mut Builder, l: &Layer) -> Result<()> {
    let (r, normed) = (b.config.recurrence, l.slots.normed);
    if !r.inner.is_multiple_of(r.heads) {
        return Err(ChordError::model(format!("{} values cannot be shared by {} heads", r.inner, r.heads)));
    }
    let (dim, rank) = (r.inner / r.heads, (b.config.embedding / 16).max(64));
    let both = b.slot("gate and input", 2 * r.inner);
    let [gate, input, output] = ["scan gate", "scan input", "scan output"].map(|name| b.slot(name, r.inner));
    let [key, query] = ["scan key", "scan query"].map(|name| b.slot(name, r.state));
    let (narrow, step) = (b.slot("scan rank", rank), b.slot("scan step", r.heads));
    b.linear_unscaled(&l.name("ssm_in"), normed, both)?;
    for (first, dst) in [(0, gate), (dim, input)] {
        copy_runs(b, both, Runs { first, step: 2 * dim }, dst, Runs { first: 0, step: dim }, dim, r.heads);
    }
    short_conv(b, &l.name("ssm_conv1d"), r.kernel, input)?;
    b.push(Op::Activate { slot: input, activation: Activation::Silu });
    b.fused(&l.name("ssm_x"), input, &[key, query, narrow], false)?;
    for (name, slot) in [("ssm_b_norm", key), ("ssm_c_norm", query), ("ssm_dt_norm", narrow)] {
        b.norm(&l.name(name), slot, slot)?;
    }
    b.linear_unscaled(&l.name("ssm_dt"), narrow, step)?;
    let state = b.state(State::Recurrent { heads: r.heads, rows: dim, columns: r.state });
    let rate = b.vector(&l.name("ssm_a"), r.heads)?;
    let skip = b.vector(&l.name("ssm_d"), r.heads)?;
    b.push(Op::Scan { state, input, step, key, query, dst: output, bias: None, rate, skip, groups: 1 });
    b.push(Op::Gate { gate, up: output, activation: Activation::Silu });
    b.linear_unscaled(&l.name("ssm_out"), gate, l.slots.output)
}
