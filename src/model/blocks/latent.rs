//! Multi-head latent attention: keys and values of all heads come from one narrow row, <https://arxiv.org/abs/2405.04434>.

use super::{attend, copy_runs, rotate, take_columns};
use crate::error::{ChordError, Result};
use crate::model::builder::{Builder, Layer};
use crate::program::{Epilogue, Op, RowView, Runs, Slot};

/// Its widths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latent {
    /// Of the narrow row that keys and values come from.
    pub rank: usize,
    /// Of a head's query, of whose end so much rotates, and of its value.
    pub key: usize,
    pub rotated: usize,
    pub value: usize,
}

/// attended = attention for `src`, and the slot that it comes to be in.
///
/// In newer files the narrow row is what is kept: it is the key of every head, whose query is brought into its space,
/// and the value, which is brought out of it. In older ones keys and values of the heads are kept. In both the part
/// that rotates comes first here, so that it begins where rotations do.
pub fn latent_attention(b: &mut Builder, l: &Layer, src: Slot) -> Result<Slot> {
    let (s, heads, w) = (l.slots, l.shape.heads, b.config.latent);
    let is_absorbed = b.has(&l.name("attn_k_b.weight"));
    let (key_length, value_length) = if is_absorbed { (w.rotated + w.rank, w.rank) } else { (w.key, w.value) };
    let kv_heads = if is_absorbed { 1 } else { heads };
    let shape = (l.shape.key_length, l.shape.value_length, l.shape.kv_heads);
    if shape != (key_length, value_length, kv_heads) {
        let text = format!("layer {} has heads of {shape:?}, not {:?}", l.index, (key_length, value_length, kv_heads));
        return Err(ChordError::model(text).with("layer", l.index));
    }
    let query = queries(b, l, src)?;
    let both = b.slot("latent and rotated", w.rank + w.rotated);
    let latent = b.slot("latent", w.rank);
    b.linear_unscaled(&l.name("attn_kv_a_mqa"), src, both)?;
    take_columns(b, both, 0, latent);
    b.norm(&l.name("attn_kv_a_norm"), latent, latent)?;

    let plain = w.key - w.rotated;
    let (every, start) = (Runs { first: plain, step: w.key }, Runs { first: 0, step: key_length });
    copy_runs(b, query, every, s.query, start, w.rotated, heads);
    copy_runs(b, both, Runs { first: w.rank, step: 0 }, s.key, start, w.rotated, kv_heads);
    let behind = Runs { first: w.rotated, step: key_length };
    if is_absorbed {
        let (narrow, wide) = (b.slot("plain query", plain), b.slot("latent query", w.rank));
        let matrix = b.matrix(&l.name("attn_k_b.weight"), w.rank, plain, heads)?;
        for head in 0..heads {
            take_columns(b, query, head * w.key, narrow);
            of_head(b, matrix, head, narrow, wide);
            copy_runs(
                b,
                wide,
                Runs { first: 0, step: 0 },
                s.query,
                Runs { first: behind.at(head), step: 0 },
                w.rank,
                1,
            );
        }
        copy_runs(b, latent, Runs { first: 0, step: 0 }, s.key, behind, w.rank, 1);
        take_columns(b, latent, 0, s.value);
    } else {
        copy_runs(b, query, Runs { first: 0, step: w.key }, s.query, behind, plain, heads);
        let all = b.slot("plain keys and values", heads * (plain + w.value));
        b.linear_unscaled(&l.name("attn_kv_b"), latent, all)?;
        let from = |first: usize| Runs { first, step: plain + w.value };
        copy_runs(b, all, from(0), s.key, behind, plain, heads);
        copy_runs(b, all, from(plain), s.value, Runs { first: 0, step: w.value }, w.value, heads);
    }
    rotate(b, l)?;
    attend(b, l)?;
    if !is_absorbed {
        return Ok(s.attended);
    }
    let (values, value) = (b.slot("latent values", heads * w.value), b.slot("latent value", w.value));
    let matrix = b.matrix(&l.name("attn_v_b.weight"), w.value, w.rank, heads)?;
    for head in 0..heads {
        take_columns(b, s.attended, head * w.rank, latent);
        of_head(b, matrix, head, latent, value);
        let to = Runs { first: head * w.value, step: 0 };
        copy_runs(b, value, Runs { first: 0, step: 0 }, values, to, w.value, 1);
    }
    Ok(values)
}

/// A query for each head, by one projection or through a narrow row.
fn queries(b: &mut Builder, l: &Layer, src: Slot) -> Result<Slot> {
    let query = b.slot("latent queries", l.shape.heads * b.config.latent.key);
    if b.has(&l.name("attn_q.weight")) {
        b.linear_unscaled(&l.name("attn_q"), src, query)?;
        return Ok(query);
    }
    let narrow = b.rows(&l.name("attn_q_a.weight"))?;
    let narrow = b.slot("narrow query", narrow);
    b.linear_unscaled(&l.name("attn_q_a"), src, narrow)?;
    b.norm(&l.name("attn_q_a_norm"), narrow, narrow)?;
    b.linear_unscaled(&l.name("attn_q_b"), narrow, query)?;
    Ok(query)
}

/// dst = a head's matrix, of those that stand one after the other, times src.
fn of_head(b: &mut Builder, matrix: RowView, head: usize, src: Slot, dst: Slot) {
    let view = RowView { first_row: head * matrix.rows, ..matrix };
    b.push(Op::MatMul { view, src, dst, epilogue: Epilogue::default() });
}
