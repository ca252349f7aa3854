//! Steps of layers with a state that holds the whole past.

use crate::error::ChordError;
use crate::error::Result;
use crate::model::builder::{Builder, Layer};
use crate::program::{Activation, Op, RESIDUAL, Runs, Slot, State};

/// dst = the values of `src` from `first` on.
pub fn take_columns(b: &mut Builder, src: Slot, first: usize, dst: Slot) {
    let (run, from, to) = (b.width(dst), Runs { first, step: 0 }, Runs { first: 0, step: 0 });
    b.push(Op::Copy { src, dst, run, count: 1, from, to });
}

/// The first of the streams that pass from layer to layer.
pub fn first_stream(b: &mut Builder) -> Slot {
    if b.config.streams == 1 {
        return RESIDUAL;
    }
    let first = b.slot("first stream", b.config.embedding);
    take_columns(b, RESIDUAL, 0, first);
    first
}

/// Puts `src` in the place of a stream, unless it is that.
pub fn put_stream(b: &mut Builder, src: Slot, stream: usize) {
    if src != RESIDUAL {
        let width = b.config.embedding;
        copy_runs(b, src, Runs { first: 0, step: 0 }, RESIDUAL, Runs { first: stream * width, step: 0 }, width, 1);
    }
}

/// dst −= src
pub fn subtract(b: &mut Builder, dst: Slot, src: Slot) {
    let negative = b.slot("negative", b.width(src));
    take_columns(b, src, 0, negative);
    b.push(Op::Scale { slot: negative, factor: -1.0 });
    b.push(Op::Add { src: negative, dst });
}

/// dst = dst · src
pub fn multiply(b: &mut Builder, dst: Slot, src: Slot) {
    b.push(Op::Gate { gate: dst, up: src, activation: Activation::Identity });
}

/// Convolves `slot` in place over `kernel` tokens, with the named tensor and its optional bias.
pub fn short_conv(b: &mut Builder, name: &str, kernel: usize, slot: Slot) -> Result<()> {
    let width = b.width(slot);
    let state = b.state(State::Conv { width, taps: kernel - 1 });
    let bias = b.optional(&format!("{name}.bias"), width)?;
    let kernel = Some(b.vector(&format!("{name}.weight"), width * kernel)?);
    b.push(Op::ShortConv { state, slot, kernel, bias });
    Ok(())
}

/// Copies runs of `src` to runs of `dst`, `count` of them, of `run` values.
pub fn copy_runs(b: &mut Builder, src: Slot, from: Runs, dst: Slot, to: Runs, run: usize, count: usize) {
    b.push(Op::Copy { src, dst, run, count, from, to });
}

/// The mixer of Mamba 2 for `src`: its output, to be projected by `ssm_out`.
pub fn mamba2(b: &mut Builder, l: &Layer, src: Slot) -> Result<Slot> {
    let r = b.config.recurrence;
    if !r.inner.is_multiple_of(r.heads) || !r.heads.is_multiple_of(r.groups) {
        let text = format!("{} values cannot be shared by {} heads in {} groups", r.inner, r.heads, r.groups);
        return Err(ChordError::model(text));
    }
    let shared = r.groups * r.state;
    let [gate, input, output] = ["mamba gate", "mamba input", "mamba output"].map(|name| b.slot(name, r.inner));
    let [key, query] = ["mamba key", "mamba query"].map(|name| b.slot(name, shared));
    let (mixed, step) = (b.slot("mamba mixed", r.inner + 2 * shared), b.slot("mamba step", r.heads));
    b.fused(&l.name("ssm_in"), src, &[gate, mixed, step], true)?;
    short_conv(b, &l.name("ssm_conv1d"), r.kernel, mixed)?;
    b.push(Op::Activate { slot: mixed, activation: Activation::Silu });
    take_columns(b, mixed, 0, input);
    take_columns(b, mixed, r.inner, key);
    take_columns(b, mixed, r.inner + shared, query);
    let state = b.state(State::Recurrent { heads: r.heads, rows: r.inner / r.heads, columns: r.state });
    let bias = Some(b.vector(&l.name("ssm_dt.bias"), r.heads)?);
    let rate = b.vector(&l.name("ssm_a"), r.heads)?;
    let skip = b.vector(&l.name("ssm_d"), r.heads)?;
    let (dst, groups) = (output, r.groups);
    b.push(Op::Scan { state, input, step, key, query, dst, bias, rate, skip, groups });
    b.push(Op::Gate { gate, up: output, activation: Activation::Silu });
    if b.has(&l.name("ssm_norm.weight")) {
        b.norm_runs(&l.name("ssm_norm"), gate, gate, r.inner / r.groups)?;
    }
    Ok(gate)
}

/// The mixer of Mamba 1 for `src`: its output, to be projected by `ssm_out`. Steps, keys and queries are normalised
/// where the file has weights for that, or says that it is done without.
pub fn mamba(b: &mut Builder, l: &Layer, src: Slot) -> Result<Slot> {
    // What other architectures call the number of heads is the width from which steps are projected.
    let (r, rank) = (b.config.recurrence, b.config.recurrence.heads);
    let [gate, input, output, step] =
        ["mamba gate", "mamba input", "mamba output", "mamba step"].map(|name| b.slot(name, r.inner));
    let [key, query] = ["mamba key", "mamba query"].map(|name| b.slot(name, r.state));
    let narrow = b.slot("mamba rank", rank);
    b.fused(&l.name("ssm_in"), src, &[input, gate], true)?;
    short_conv(b, &l.name("ssm_conv1d"), r.kernel, input)?;
    b.push(Op::Activate { slot: input, activation: Activation::Silu });
    b.fused(&l.name("ssm_x"), input, &[narrow, key, query], false)?;
    for (name, slot) in [("ssm_dt_norm", narrow), ("ssm_b_norm", key), ("ssm_c_norm", query)] {
        if b.has(&l.name(&format!("{name}.weight"))) || b.has(&l.name(name)) {
            b.norm(&l.name(name), slot, slot)?;
        } else if r.normalises {
            b.norm_bare(slot, b.width(slot), b.config.epsilon);
        }
    }
    b.linear_unscaled(&l.name("ssm_dt"), narrow, step)?;
    let state = b.state(State::Recurrent { heads: r.inner, rows: 1, columns: r.state });
    let rate = b.vector(&l.name("ssm_a"), r.inner * r.state)?;
    let skip = b.vector(&l.name("ssm_d"), r.inner)?;
    b.push(Op::Scan { state, input, step, key, query, dst: output, bias: None, rate, skip, groups: 1 });
    b.push(Op::Gate { gate, up: output, activation: Activation::Silu });
    Ok(gate)
}

/// The slots of a gated delta net.
pub struct DeltaNet {
    /// Queries, keys and values, one after the other.
    pub mixed: Slot,
    pub decay: Slot,
    pub beta: Slot,
    /// What the output is gated by, and where it comes to be.
    pub gate: Slot,
}

/// gate = norm(what the gated delta rule answers, after a short convolution of `mixed`) · silu(gate).
/// <https://arxiv.org/abs/2412.06464>
pub fn delta_net(b: &mut Builder, l: &Layer, slots: &DeltaNet, interleaved: bool) -> Result<()> {
    let r = b.config.recurrence;
    let (dim, keys, values) = (r.state, r.groups * r.state, r.heads * r.state);
    let DeltaNet { mixed, decay, beta, gate } = *slots;
    short_conv(b, &l.name("ssm_conv1d"), r.kernel, mixed)?;
    b.push(Op::Activate { slot: mixed, activation: Activation::Silu });
    let query = b.slot("delta query", keys);
    let key = b.slot("delta key", keys);
    let value = b.slot("delta value", values);
    let output = b.slot("delta output", values);
    take_columns(b, mixed, 0, query);
    take_columns(b, mixed, keys, key);
    take_columns(b, mixed, 2 * keys, value);
    normalise_keys(b, query, key, dim);
    let state = b.state(State::Recurrent { heads: r.heads, rows: dim, columns: dim });
    let bias = b.vector(&l.name("ssm_dt.bias"), r.heads)?;
    let rate = b.vector(&l.name("ssm_a"), r.heads)?;
    let (dst, groups) = (output, r.groups);
    b.push(Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups, interleaved });
    b.norm_runs(&l.name("ssm_norm"), output, output, dim)?;
    b.push(Op::Gate { gate, up: output, activation: Activation::Silu });
    Ok(())
}

/// Queries and keys of `dim` values get length 1; and queries are divided by the root of their width, as in attention.
pub fn normalise_keys(b: &mut Builder, query: Slot, key: Slot, dim: usize) {
    let root = (dim as f32).sqrt();
    for (slot, factor) in [(query, 1.0 / dim as f32), (key, 1.0 / root)] {
        b.norm_bare(slot, dim, b.config.epsilon / dim as f32);
        b.push(Op::Scale { slot, factor });
    }
}
