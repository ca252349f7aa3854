//! Attention to tokens before and after. A batch of a text attends to keys and values of the batches that follow it, so
//! that a layer finds them made already: by the end of the group before, through which the whole text has gone.

use super::attention::attend_to;
use crate::error::Result;
use crate::model::builder::{Builder, Layer};
use crate::program::{Kv, Op, RESIDUAL, Slot, State, StateId};

/// Which projection of the three.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

/// Attention up to `attended`, of the residual stream or what the named norm makes of it.
pub fn attention_ahead(b: &mut Builder, l: &Layer, norm: Option<&str>) -> Result<()> {
    let (s, shape) = (l.slots, l.shape);
    let state = b.in_group_before(|b| {
        let src = input(b, l, norm)?;
        project(b, l, Part::Key, src, s.key)?;
        project(b, l, Part::Value, src, s.value)?;
        turn(b, l, "attn_k_norm", s.key, shape.kv_heads)?;
        let state = state(b, l);
        b.push(Op::KvWrite { state, key: s.key, value: s.value, head_dim: shape.key_length });
        Ok(state)
    })?;
    let src = input(b, l, norm)?;
    project(b, l, Part::Query, src, s.query)?;
    turn(b, l, "attn_q_norm", s.query, shape.heads)?;
    attend_to(b, l, state, None);
    Ok(())
}

/// What is projected. Two groups need it, so that each computes it, with a weight that both may read.
fn input(b: &mut Builder, l: &Layer, norm: Option<&str>) -> Result<Slot> {
    match norm.map(|name| l.name(name)).filter(|name| b.has(&format!("{name}.weight"))) {
        Some(name) => {
            b.norm_of_first_group(&name, RESIDUAL, l.slots.normed)?;
            Ok(l.slots.normed)
        }
        None => Ok(RESIDUAL),
    }
}

/// One of the projections: a tensor of its own, or its rows of one for all three.
fn project(b: &mut Builder, l: &Layer, part: Part, src: Slot, dst: Slot) -> Result<()> {
    let fused = l.name("attn_qkv");
    if !b.has(&format!("{fused}.weight")) {
        let name = match part {
            Part::Query => "attn_q",
            Part::Key => "attn_k",
            Part::Value => "attn_v",
        };
        return b.linear(&l.name(name), src, dst);
    }
    let [query, key, value] = [l.slots.query, l.slots.key, l.slots.value].map(|slot| b.width(slot));
    let first = match part {
        Part::Query => 0,
        Part::Key => query,
        Part::Value => query + key,
    };
    b.linear_part(&fused, first..first + b.width(dst), query + key + value, src, dst)
}

/// The norm of queries or keys, over each head or over the row, and their rotation, where the layer has them.
fn turn(b: &mut Builder, l: &Layer, norm: &str, slot: Slot, heads: usize) -> Result<()> {
    let (norm, head_dim) = (l.name(norm), l.shape.key_length);
    if b.has(&format!("{norm}.weight")) {
        let is_of_heads = b.values(&format!("{norm}.weight")) == Some(head_dim as u64);
        b.norm_runs(&norm, slot, slot, if is_of_heads { head_dim } else { b.width(slot) })?;
    }
    if let Some(rope) = &l.shape.rope {
        let rope = b.rope(rope, l.shape.has_rope_factors)?;
        b.push(Op::Rope { slot, heads, head_dim, rope });
    }
    Ok(())
}

/// Where keys and values are kept until the layer is done: as long as the next layer's are made. So two of a shape serve
/// all layers.
fn state(b: &mut Builder, l: &Layer) -> StateId {
    let kept = State::Kv(Kv::new(l.shape.kv_heads, l.shape.key_length, l.shape.value_length));
    let earlier = l.index.checked_sub(2).and_then(|layer| b.caches.get(&layer).copied());
    let state = match earlier.filter(|state| b.is_state(*state, kept)) {
        Some(state) => state,
        None => b.state(kept),
    };
    b.caches.insert(l.index, state);
    state
}
