//! Steps of RWKV 6 and 7, <https://arxiv.org/abs/2404.05892>, <https://arxiv.org/abs/2503.14456>. Each mixes a token's row
//! with that of the token before it.

use super::{copy_runs, multiply, put_stream, subtract, take_columns};
use crate::error::{ChordError, Result};
use crate::model::builder::{Builder, Layer};
use crate::program::{Activation, Epilogue, Norm, Op, RESIDUAL, Runs, Slot, State};

/// Added to the variance of a head's output.
const HEAD_EPSILON: f32 = 64e-5;

/// The row of the token before, less that of the token.
fn difference(b: &mut Builder, src: Slot) -> Slot {
    let width = b.width(src);
    let difference = b.slot("difference", width);
    take_columns(b, src, 0, difference);
    let state = b.state(State::Conv { width, taps: 1 });
    b.push(Op::ShortConv { state, slot: difference, kernel: None, bias: None });
    subtract(b, difference, src);
    difference
}

/// dst = src + difference · the named weights
fn mixed(b: &mut Builder, l: &Layer, name: &str, [src, difference]: [Slot; 2], dst: Slot) -> Result<()> {
    let weight = b.vector(&l.name(&format!("{name}.weight")), b.width(dst))?;
    take_columns(b, difference, 0, dst);
    b.push(Op::Weigh { slot: dst, weight });
    b.push(Op::Add { src, dst });
    Ok(())
}

/// dst = so many copies of src, one behind the other.
fn repeated(b: &mut Builder, src: Slot, count: usize, dst: Slot) {
    let width = b.width(src);
    copy_runs(b, src, Runs { first: 0, step: 0 }, dst, Runs { first: 0, step: width }, width, count);
}

/// One of the rows of `all`.
fn part(b: &mut Builder, all: Slot, number: usize) -> Slot {
    let width = b.config.embedding;
    let part = b.slot("part", width);
    take_columns(b, all, number * width, part);
    part
}

/// What happens between two products.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    Tanh,
    Sigmoid,
}

/// dst = the second matrix times f(the first times src), and a bias.
fn low_rank(
    b: &mut Builder,
    l: &Layer,
    [first, second, bias]: [&str; 3],
    between: Between,
    src: Slot,
    dst: Slot,
) -> Result<()> {
    let first = l.name(first);
    let inner = b.slot("low rank", b.rows(&format!("{first}.weight"))?);
    b.linear(&first, src, inner)?;
    match between {
        Between::Nothing => {}
        Between::Tanh => b.push(Op::Softcap { slot: inner, cap: 1.0 }),
        Between::Sigmoid => b.push(Op::Activate { slot: inner, activation: Activation::Sigmoid }),
    }
    let bias = if bias.is_empty() { None } else { Some(b.vector(&l.name(&format!("{bias}.weight")), b.width(dst))?) };
    b.project(&l.name(second), inner, dst, Epilogue { bias, ..Epilogue::default() })
}

/// Every head's output to mean 0 and variance 1, with the file's weights.
fn norm_heads(b: &mut Builder, l: &Layer, slot: Slot) -> Result<()> {
    let all = b.width(slot);
    let weight = Some(b.vector(&l.name("time_mix_ln.weight"), all)?);
    let bias = Some(b.vector(&l.name("time_mix_ln.bias"), all)?);
    let width = b.config.recurrence.state;
    b.push(Op::Norm { kind: Norm::Layer, src: slot, weight, bias, dst: slot, width, epsilon: HEAD_EPSILON });
    Ok(())
}

/// residual += what a layer of RWKV 7 remembers for `src`. Values of the first layer stand in the second stream.
pub fn time_mix_7(b: &mut Builder, l: &Layer, src: Slot, residual: Slot) -> Result<()> {
    let (width, r) = (b.config.embedding, b.config.recurrence);
    let fused = l.name("time_mix_lerp_fused.weight");
    let has_gate = b.has(&l.name("time_mix_g1.weight"));
    let count = if has_gate { 6 } else { 5 };
    let difference = difference(b, src);
    let [all, plain] = ["mixed rows", "plain rows"].map(|name| b.slot(name, count * width));
    repeated(b, difference, count, all);
    let weight = b.vector(&fused, count * width)?;
    b.push(Op::Weigh { slot: all, weight });
    repeated(b, src, count, plain);
    b.push(Op::Add { src: plain, dst: all });

    let names = ["receptance", "decay", "key", "value", "rate", "gate", "erased", "added", "kept", "answer"];
    let [query, decay, key, value, rate, gate, erased, added, kept, answer] = names.map(|name| b.slot(name, width));
    let row = part(b, all, 0);
    b.linear(&l.name("time_mix_receptance"), row, query)?;
    let row = part(b, all, 1);
    low_rank(b, l, ["time_mix_w1", "time_mix_w2", "time_mix_w0"], Between::Tanh, row, decay)?;
    // What is kept of the past is e to this: between e^(−e^−0.5) and 1.
    b.push(Op::Activate { slot: decay, activation: Activation::Sigmoid });
    b.push(Op::Scale { slot: decay, factor: -0.606_531 });
    let row = part(b, all, 2);
    b.linear(&l.name("time_mix_key"), row, key)?;
    let row = part(b, all, 3);
    b.linear(&l.name("time_mix_value"), row, value)?;
    if l.index == 0 {
        put_stream(b, value, 1);
    } else {
        // value += (the first layer's − value) · share
        let share = rate;
        low_rank(b, l, ["time_mix_v1", "time_mix_v2", "time_mix_v0"], Between::Nothing, row, share)?;
        b.push(Op::Activate { slot: share, activation: Activation::Sigmoid });
        take_columns(b, RESIDUAL, width, kept);
        subtract(b, kept, value);
        multiply(b, kept, share);
        b.push(Op::Add { src: kept, dst: value });
    }
    let row = part(b, all, 4);
    low_rank(b, l, ["time_mix_a1", "time_mix_a2", "time_mix_a0"], Between::Nothing, row, rate)?;
    b.push(Op::Activate { slot: rate, activation: Activation::Sigmoid });
    if has_gate {
        let row = part(b, all, 5);
        low_rank(b, l, ["time_mix_g1", "time_mix_g2", ""], Between::Sigmoid, row, gate)?;
    }

    // What is erased stands under keys of length 1.
    let weight = b.vector(&l.name("time_mix_k_k.weight"), width)?;
    take_columns(b, key, 0, erased);
    b.push(Op::Weigh { slot: erased, weight });
    b.norm_bare(erased, r.state, 1e-24);
    b.push(Op::Scale { slot: erased, factor: 1.0 / (r.state as f32).sqrt() });
    take_columns(b, erased, 0, added);
    multiply(b, added, rate);
    // key += (rate − 1) · key · weights
    let weight = b.vector(&l.name("time_mix_k_a.weight"), width)?;
    take_columns(b, key, 0, kept);
    b.push(Op::Weigh { slot: kept, weight });
    multiply(b, rate, kept);
    b.push(Op::Add { src: rate, dst: key });
    subtract(b, key, kept);

    let state = b.state(State::Recurrent { heads: r.heads, rows: r.state, columns: r.state });
    let erase = Some([erased, added]);
    b.push(Op::Wkv { state, query, key, value, decay, erase, dst: answer, early: false });
    if b.has(&l.name("time_mix_ln.weight")) {
        norm_heads(b, l, answer)?;
    }
    let weight = b.vector(&l.name("time_mix_r_k.weight"), width)?;
    b.push(Op::Weigh { slot: query, weight });
    b.push(Op::Echo { query, key, value, dst: kept, heads: r.heads });
    b.push(Op::Add { src: kept, dst: answer });
    if has_gate {
        multiply(b, answer, gate);
    }
    b.linear_add(&l.name("time_mix_output"), answer, residual)
}

/// residual += what a layer of RWKV 6 remembers for `src`, or of its kin that stand in Qwen 2's layers.
pub fn time_mix_6(b: &mut Builder, l: &Layer, src: Slot, residual: Slot) -> Result<()> {
    let (width, r) = (b.config.embedding, b.config.recurrence);
    let difference = difference(b, src);
    let row = b.slot("part", width);
    mixed(b, l, "time_mix_lerp_x", [src, difference], row)?;
    let first = l.name("time_mix_w1");
    let inner = b.rows(&format!("{first}.weight"))?;
    if !inner.is_multiple_of(5) {
        return Err(ChordError::model(format!("tensor '{first}.weight' has {inner} rows, which are no five parts")));
    }
    let (inner, one) = (b.slot("low rank", inner), b.slot("low rank of one", inner / 5));
    b.linear(&first, row, inner)?;
    b.push(Op::Softcap { slot: inner, cap: 1.0 });
    let second = b.matrix(&l.name("time_mix_w2.weight"), width, b.width(one), 5)?;
    let shares = b.slot("mixed rows", 5 * width);
    for number in 0..5 {
        take_columns(b, inner, number * b.width(one), one);
        let view = crate::program::RowView { first_row: number * width, ..second };
        b.push(Op::MatMul { view, src: one, dst: row, epilogue: Epilogue::default() });
        let to = Runs { first: number * width, step: 0 };
        copy_runs(b, row, Runs { first: 0, step: 0 }, shares, to, width, 1);
    }
    // Weights of all five, or of each by itself.
    let plain = b.slot("plain rows", 5 * width);
    if b.has(&l.name("time_mix_lerp_fused.weight")) {
        let weight = b.vector(&l.name("time_mix_lerp_fused.weight"), 5 * width)?;
        repeated(b, difference, 5, plain);
        multiply(b, shares, plain);
        b.push(Op::Weigh { slot: plain, weight });
        b.push(Op::Add { src: plain, dst: shares });
    } else {
        repeated(b, difference, 5, plain);
        multiply(b, shares, plain);
        for (number, name) in ["w", "k", "v", "r", "g"].into_iter().enumerate() {
            let weight = b.vector(&l.name(&format!("time_mix_lerp_{name}.weight")), width)?;
            take_columns(b, difference, 0, row);
            b.push(Op::Weigh { slot: row, weight });
            let to = Runs { first: number * width, step: 0 };
            copy_runs(b, row, Runs { first: 0, step: 0 }, plain, to, width, 1);
        }
        b.push(Op::Add { src: plain, dst: shares });
    }
    repeated(b, src, 5, plain);
    b.push(Op::Add { src: plain, dst: shares });

    let names = ["receptance", "decay", "key", "value", "gate", "kept", "answer"];
    let [query, decay, key, value, gate, kept, answer] = names.map(|name| b.slot(name, width));
    let is_kin = !b.has(&l.name("time_mix_first.weight"));
    let row = part(b, shares, 0);
    low_rank(b, l, ["time_mix_decay_w1", "time_mix_decay_w2", "time_mix_decay"], Between::Tanh, row, decay)?;
    b.push(Op::Activate { slot: decay, activation: Activation::Exp });
    b.push(Op::Scale { slot: decay, factor: -1.0 });
    for (number, name, slot) in [(1, "key", key), (2, "value", value)] {
        let row = part(b, shares, number);
        let name = l.name(&format!("time_mix_{name}"));
        let narrow = b.rows(&format!("{name}.weight"))?;
        if narrow == width {
            b.linear(&name, row, slot)?;
            continue;
        }
        // Several heads share keys and values.
        if !narrow.is_multiple_of(r.state) || !width.is_multiple_of(narrow) {
            return Err(ChordError::model(format!(
                "tensor '{name}.weight' has {narrow} rows, which heads cannot share"
            )));
        }
        let few = b.slot("shared", narrow);
        b.linear(&name, row, few)?;
        let share = width / narrow;
        for head in 0..narrow / r.state {
            let (from, to) =
                (Runs { first: head * r.state, step: 0 }, Runs { first: head * share * r.state, step: r.state });
            copy_runs(b, few, from, slot, to, r.state, share);
        }
    }
    let row = part(b, shares, 3);
    b.linear(&l.name("time_mix_receptance"), row, query)?;
    let row = part(b, shares, 4);
    b.linear(&l.name("time_mix_gate"), row, gate)?;
    let activation = if is_kin { Activation::Sigmoid } else { Activation::Silu };
    b.push(Op::Activate { slot: gate, activation });

    let state = b.state(State::Recurrent { heads: r.heads, rows: r.state, columns: r.state });
    if is_kin {
        // A key has what is not kept.
        take_columns(b, decay, 0, kept);
        b.push(Op::Activate { slot: kept, activation: Activation::Exp });
        multiply(b, kept, key);
        subtract(b, key, kept);
        b.push(Op::Scale { slot: query, factor: 1.0 / (r.state as f32).sqrt() });
        b.push(Op::Wkv { state, query, key, value, decay, erase: None, dst: answer, early: false });
    } else {
        b.push(Op::Wkv { state, query, key, value, decay, erase: None, dst: answer, early: true });
        let weight = b.vector(&l.name("time_mix_first.weight"), width)?;
        b.push(Op::Weigh { slot: query, weight });
        b.push(Op::Echo { query, key, value, dst: kept, heads: r.heads });
        b.push(Op::Add { src: kept, dst: answer });
        norm_heads(b, l, answer)?;
    }
    multiply(b, answer, gate);
    b.linear_add(&l.name("time_mix_output"), answer, residual)
}

/// residual += the feed-forward of RWKV for `src`, which RWKV 6 has a gate for.
pub fn channel_mix(b: &mut Builder, l: &Layer, src: Slot, residual: Slot) -> Result<()> {
    let difference = difference(b, src);
    let (row, output) = (b.slot("part", b.config.embedding), l.slots.output);
    mixed(b, l, "channel_mix_lerp_k", [src, difference], row)?;
    b.linear(&l.name("channel_mix_key"), row, l.slots.up)?;
    b.push(Op::Activate { slot: l.slots.up, activation: Activation::ReluSquared });
    if !b.has(&l.name("channel_mix_receptance.weight")) {
        return b.linear_add(&l.name("channel_mix_value"), l.slots.up, residual);
    }
    mixed(b, l, "channel_mix_lerp_r", [src, difference], row)?;
    b.linear(&l.name("channel_mix_receptance"), row, output)?;
    b.push(Op::Activate { slot: output, activation: Activation::Sigmoid });
    b.linear(&l.name("channel_mix_value"), l.slots.up, row)?;
    multiply(b, output, row);
    b.push(Op::Add { src: output, dst: residual });
    Ok(())
}
