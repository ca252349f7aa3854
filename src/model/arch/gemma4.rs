//! Gemma 4, dense: Gemma 3 with bare norms of values, last layers that attend to the keys of others, and in the small
//! models a row of its own for each token in each layer.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::{FeedForward, attend, feed_forward, multiply, rotate, take_columns};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, WIDTH_MAX};
use crate::model::keys::Keys;
use crate::program::{Activation, Epilogue, Op, RESIDUAL, RowView, Slot};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    if c.experts().next().is_some() {
        let text = "gemma4 with a mixture of experts is not supported";
        return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
    }
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.final_softcap = keys.nonzero("final_logit_softcapping")?;
    c.layers.iter_mut().for_each(|shape| shape.attention_scale = 1.0);
    c.slide(keys, 6)?;
    c.read_sliding_heads(keys)?;
    c.sliding().for_each(|shape| shape.has_rope_factors = false);
    c.share_caches(keys, 0)?;
    c.per_layer = keys.size("embedding_length_per_layer_input", 0, WIDTH_MAX, Some(0))?;
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    projections(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    let kind = FeedForward { scaled: true, ..FeedForward::GEGLU };
    feed_forward(b, l, kind, s.normed, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    if b.config.per_layer > 0 {
        let gate = b.slot("per layer gate", b.config.per_layer);
        b.linear_unscaled(&l.name("inp_gate"), RESIDUAL, gate)?;
        b.push(Op::Activate { slot: gate, activation: Activation::Gelu });
        let own = own_input(b, l)?;
        multiply(b, gate, own);
        b.linear_unscaled(&l.name("proj"), gate, s.output)?;
        b.norm(&l.name("post_norm"), s.output, s.output)?;
        b.push(Op::Add { src: s.output, dst: RESIDUAL });
    }
    if let Some(weight) = b.optional(&l.name("layer_output_scale.weight"), 1)? {
        b.push(Op::Weigh { slot: RESIDUAL, weight });
    }
    Ok(())
}

/// Queries, and where the layer has them keys and values, each normalised by the head. Values may be the keys before
/// their norm.
pub fn projections(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, dim) = (l.slots, l.shape.key_length);
    let fused = l.name("attn_qkv");
    if l.shape.shares.is_some() {
        b.linear(&l.name("attn_q"), s.normed, s.query)?;
        return b.norm_runs(&l.name("attn_q_norm"), s.query, s.query, dim);
    }
    if b.has(&format!("{fused}.weight")) {
        b.fused(&fused, s.normed, &[s.query, s.key, s.value], true)?;
    } else {
        b.linear(&l.name("attn_q"), s.normed, s.query)?;
        b.linear(&l.name("attn_k"), s.normed, s.key)?;
        match b.has(&l.name("attn_v.weight")) {
            true => b.linear(&l.name("attn_v"), s.normed, s.value)?,
            false => take_columns(b, s.key, 0, s.value),
        }
    }
    b.norm_runs(&l.name("attn_q_norm"), s.query, s.query, dim)?;
    b.norm_runs(&l.name("attn_k_norm"), s.key, s.key, dim)?;
    b.norm_bare(s.value, l.shape.value_length, b.config.epsilon);
    Ok(())
}

/// What a layer has of each token: a part of a row of a table, and a projection of the token's embedding. Both are made
/// anew in each layer, since only the residual stream passes from one to the next.
pub fn own_input(b: &mut Builder, l: &Layer) -> Result<Slot> {
    let (width, embedding, vocabulary) = (b.config.per_layer, b.config.embedding, b.config.vocabulary);
    let all = width.checked_mul(b.config.layers.len()).filter(|all| *all <= WIDTH_MAX);
    let all = all.ok_or_else(|| ChordError::model("the layers' own inputs are too wide"))?;
    let [rows, own, projected] = [("per layer rows", all), ("per layer input", width), ("per layer projection", width)]
        .map(|(name, width)| b.slot(name, width));
    let embedded = b.slot("embedded", embedding);
    let (tokens, table, matrix) = b.in_first_group(|b| {
        Ok((
            b.matrix("token_embd.weight", vocabulary, embedding, 1)?,
            b.matrix("per_layer_token_embd.weight", vocabulary, all, 1)?,
            b.matrix("per_layer_model_proj.weight", all, embedding, 1)?,
        ))
    })?;
    let scale = b.config.embedding_scale;
    b.push(Op::Embed { table: tokens.weight, dst: embedded, scale });
    let view = RowView { first_row: l.index * width, rows: width, ..matrix };
    b.push(Op::MatMul { view, src: embedded, dst: projected, epilogue: Epilogue::default() });
    b.push(Op::Scale { slot: projected, factor: 1.0 / (embedding as f32).sqrt() });
    b.norm_of_first_group("per_layer_proj_norm", projected, projected)?;
    b.push(Op::Embed { table: table.weight, dst: rows, scale: (width as f32).sqrt() });
    take_columns(b, rows, l.index * width, own);
    b.push(Op::Add { src: projected, dst: own });
    b.push(Op::Scale { slot: own, factor: std::f32::consts::FRAC_1_SQRT_2 });
    Ok(own)
}
