//! Gemma 3n: Gemma 4's small models before them, with several streams of which a layer computes one and guesses the
//! others (AltUp, <https://arxiv.org/abs/2301.13310>), a narrow product beside attention (Laurel,
//! <https://arxiv.org/abs/2411.07501>), and first layers whose gates pass only what exceeds most.

use super::gemma4::{own_input, projections};
use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{attend, first_stream, multiply, put_stream, rotate, subtract, take_columns};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, WIDTH_MAX};
use crate::model::keys::Keys;
use crate::program::{Activation, Epilogue, Norm, Op, RESIDUAL, RowView, Runs, Slot};

/// Streams at most.
const STREAMS_MAX: usize = 16;
/// Standard deviations above the mean that 5 of 100 gates exceed, and the layers that have them, where a file does not say.
const EXCESS: f32 = 1.644_853_6;
const SPARSE_LAYERS: usize = 10;
/// Layers with keys and values of their own, likewise.
const OWN_CACHES: usize = 20;
/// Keeps a row of zeros from a division by nothing.
const TINY: f32 = 1e-30;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.final_softcap = keys.nonzero_or("final_logit_softcapping", 30.0)?;
    c.layers.iter_mut().for_each(|shape| shape.attention_scale = 1.0);
    c.slide(keys, 5)?;
    super::gemma3::rotate_sliding(c, keys)?;
    c.share_caches(keys, c.layers.len().saturating_sub(OWN_CACHES))?;
    c.per_layer = keys.size("embedding_length_per_layer_input", 1, WIDTH_MAX, Some(256))?;
    c.streams = keys.size("altup.num_inputs", 2, STREAMS_MAX, Some(4))?;
    if keys.size("altup.active_idx", 0, STREAMS_MAX, Some(0))? != 0 {
        let text = "gemma3n that computes another stream than the first is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    let told = keys.metadata.opt_f32_or_array(&keys.key("activation_sparsity_scale"), c.layers.len())?;
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        let usual = if layer < SPARSE_LAYERS { EXCESS } else { 0.0 };
        let excess = told.as_ref().map_or(usual, |told| told[layer]);
        shape.excess = Some(excess).filter(|excess| excess.is_finite() && *excess > 0.0);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, width, streams) = (l.slots, b.config.embedding, b.config.streams);
    if l.index == 0 {
        spread(b)?;
    }
    let active = predict(b, l)?;
    b.norm(&l.name("attn_norm"), active, s.normed)?;
    let [laurel, joined, corrected] = ["laurel", "joined", "corrected"].map(|name| b.slot(name, width));
    let narrow = b.slot("narrow laurel", b.rows(&l.name("laurel_l.weight"))?);
    b.linear(&l.name("laurel_l"), s.normed, narrow)?;
    b.linear(&l.name("laurel_r"), narrow, laurel)?;
    b.norm(&l.name("laurel_post_norm"), laurel, laurel)?;
    b.push(Op::Add { src: s.normed, dst: laurel });

    projections(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear(&l.name("attn_output"), s.attended, joined)?;
    b.norm(&l.name("post_attention_norm"), joined, joined)?;
    b.push(Op::Add { src: active, dst: joined });
    b.push(Op::Add { src: laurel, dst: joined });
    b.push(Op::Scale { slot: joined, factor: std::f32::consts::FRAC_1_SQRT_2 });

    b.norm(&l.name("ffn_norm"), joined, s.normed)?;
    b.linear(&l.name("ffn_gate"), s.normed, s.gate)?;
    b.linear(&l.name("ffn_up"), s.normed, s.up)?;
    if let Some(epsilon) = l.shape.excess {
        let (weight, bias, gate) = (None, None, s.gate);
        let width = b.width(gate);
        b.push(Op::Norm { kind: Norm::Excess, src: gate, weight, bias, dst: gate, width, epsilon });
    }
    b.push(Op::Gate { gate: s.gate, up: s.up, activation: Activation::Gelu });
    b.linear(&l.name("ffn_down"), s.gate, s.output)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: joined, dst: s.output });

    // Each stream is corrected by what the computed one is off its guess.
    let modalities = modalities(b, l, s.output)?;
    let factors = b.slot("correction", streams);
    b.linear(&l.name("altup_correct_coef"), modalities, factors)?;
    let off = s.normed;
    take_columns(b, s.output, 0, off);
    subtract(b, off, active);
    for stream in 0..streams {
        take_columns(b, RESIDUAL, stream * width, corrected);
        b.push(Op::Add { src: off, dst: corrected });
        weighed_sum(b, off, factors, stream, corrected);
        if stream == 0 {
            put_stream(b, corrected, 0);
            token_s_own(b, l, corrected)?;
        } else {
            b.push(Op::Add { src: s.output, dst: corrected });
            put_stream(b, corrected, stream);
        }
    }
    if l.index + 1 == b.config.layers.len() { merge(b) } else { Ok(()) }
}

/// output = what the layer has of each token alone, gated by the first stream, which is used up.
fn token_s_own(b: &mut Builder, l: &Layer, first: Slot) -> Result<()> {
    let (gate, output) = (b.slot("per layer gate", b.config.per_layer), l.slots.output);
    let weight = b.vector(&l.name("altup_correct_scale.weight"), b.config.embedding)?;
    b.push(Op::Weigh { slot: first, weight });
    b.linear(&l.name("inp_gate"), first, gate)?;
    b.push(Op::Activate { slot: gate, activation: Activation::Gelu });
    let own = own_input(b, l)?;
    multiply(b, gate, own);
    b.linear(&l.name("proj"), gate, output)?;
    b.norm(&l.name("post_norm"), output, output)
}

/// Every stream in its place becomes a guess of what it is after the layer; that of the first.
fn predict(b: &mut Builder, l: &Layer) -> Result<Slot> {
    let (width, streams) = (b.config.embedding, b.config.streams);
    let active = b.slot("active", width);
    take_columns(b, RESIDUAL, 0, active);
    let modalities = modalities(b, l, active)?;
    let factors = b.slot("prediction", streams * streams);
    b.linear(&l.name("altup_predict_coef"), modalities, factors)?;
    let [all, guess] = [streams, 1].map(|count| b.slot("streams", count * width));
    take_columns(b, RESIDUAL, 0, all);
    for stream in 0..streams {
        take_columns(b, all, stream * width, guess);
        weighed_sum(b, all, factors, stream, guess);
        put_stream(b, guess, stream);
    }
    take_columns(b, RESIDUAL, 0, active);
    Ok(active)
}

/// dst += the rows of `src`, each times one of the factors with this number.
fn weighed_sum(b: &mut Builder, src: Slot, factors: Slot, number: usize, dst: Slot) {
    // They are summed as what experts answer, whose choice is numbers and weights.
    let used = b.width(src) / b.width(dst);
    let choice = b.slot("stream choice", 2 * used);
    let (from, to) = (Runs { first: number * used, step: 0 }, Runs { first: 0, step: used });
    b.push(Op::Copy { src: factors, dst: choice, run: used, count: 2, from, to });
    b.push(Op::ExpertSum { src, dst, choice, used });
}

/// How much of each kind `src` is.
fn modalities(b: &mut Builder, l: &Layer, src: Slot) -> Result<Slot> {
    let width = b.config.embedding;
    let (normed, modalities) = (b.slot("router input", width), b.slot("modalities", b.config.streams));
    b.norm(&l.name("altup_router_norm"), src, normed)?;
    b.push(Op::Scale { slot: normed, factor: 1.0 / width as f32 });
    b.linear(&l.name("altup_router"), normed, modalities)?;
    b.push(Op::Softcap { slot: modalities, cap: 1.0 });
    Ok(modalities)
}

/// dst = the named matrix with this number times `src`, made as long as `like`.
fn projected(b: &mut Builder, name: &str, number: usize, src: Slot, like: Slot, dst: Slot) -> Result<()> {
    let (width, streams) = (b.config.embedding, b.config.streams);
    let [unit, made] = ["unit", "projected"].map(|name| b.slot(name, width));
    let matrix = b.matrix(&format!("{name}.weight"), width, width, streams - 1)?;
    let view = RowView { first_row: number * width, ..matrix };
    b.push(Op::MatMul { view, src, dst: made, epilogue: Epilogue::default() });
    b.norm_bare(made, width, TINY);
    // A row times itself over its length is its length.
    take_columns(b, like, 0, unit);
    b.norm_bare(unit, width, TINY);
    b.push(Op::Echo { query: like, key: unit, value: made, dst, heads: 1 });
    b.push(Op::Scale { slot: dst, factor: 1.0 / width as f32 });
    Ok(())
}

/// Streams but the first become projections of it.
fn spread(b: &mut Builder) -> Result<()> {
    let (first, made) = (first_stream(b), b.slot("corrected", b.config.embedding));
    for stream in 1..b.config.streams {
        projected(b, "altup_proj", stream - 1, first, first, made)?;
        put_stream(b, made, stream);
    }
    Ok(())
}

/// The first stream becomes the mean of all, each brought back.
fn merge(b: &mut Builder) -> Result<()> {
    let (width, streams) = (b.config.embedding, b.config.streams);
    let first = first_stream(b);
    let [other, made, sum] = ["active", "corrected", "joined"].map(|name| b.slot(name, width));
    take_columns(b, first, 0, sum);
    for stream in 1..streams {
        take_columns(b, RESIDUAL, stream * width, other);
        projected(b, "altup_unembd_proj", stream - 1, other, first, made)?;
        b.push(Op::Add { src: made, dst: sum });
    }
    b.push(Op::Scale { slot: sum, factor: 1.0 / streams as f32 });
    put_stream(b, sum, 0);
    Ok(())
}
