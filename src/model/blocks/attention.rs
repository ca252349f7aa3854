//! Attention, as steps that architectures put in their order.

use crate::error::{ChordError, Result};
use crate::model::builder::{Builder, Layer};
use crate::program::{Kv, Op, Slot, State, StateId, WeightId};

/// query, key, value = projections of `src`, from separate tensors or one fused.
pub fn project_qkv(b: &mut Builder, l: &Layer, src: Slot) -> Result<()> {
    let s = l.slots;
    let fused = l.name("attn_qkv");
    if b.has(&format!("{fused}.weight")) {
        b.fused(&fused, src, &[s.query, s.key, s.value], true)?;
    } else {
        b.linear(&l.name("attn_q"), src, s.query)?;
        b.linear(&l.name("attn_k"), src, s.key)?;
        b.linear(&l.name("attn_v"), src, s.value)?;
    }
    if let Some(limit) = l.shape.clamp {
        [s.query, s.key, s.value].into_iter().for_each(|slot| b.push(Op::Clamp { slot, limit }));
    }
    Ok(())
}

/// A norm over each head of the queries and keys.
pub fn norm_heads(b: &mut Builder, l: &Layer) -> Result<()> {
    let width = l.shape.key_length;
    b.norm_runs(&l.name("attn_q_norm"), l.slots.query, l.slots.query, width)?;
    b.norm_runs(&l.name("attn_k_norm"), l.slots.key, l.slots.key, width)
}

/// Rotates queries and keys, where the layer does.
pub fn rotate(b: &mut Builder, l: &Layer) -> Result<()> {
    let Some(rope) = &l.shape.rope else { return Ok(()) };
    let (rope, head_dim) = (b.rope(rope, l.shape.has_rope_factors)?, l.shape.key_length);
    b.push(Op::Rope { slot: l.slots.query, heads: l.shape.heads, head_dim, rope });
    if l.shape.shares.is_none() {
        b.push(Op::Rope { slot: l.slots.key, heads: l.shape.kv_heads, head_dim, rope });
    }
    Ok(())
}

/// Appends to the cache, unless it is another layer's, and attends.
pub fn attend(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, shape) = (l.slots, l.shape);
    if shape.heads == 0 {
        return Err(ChordError::model(format!("layer {} attends without a head", l.index)).with("layer", l.index));
    }
    let sinks = b.optional(&l.name("attn_sinks.weight"), shape.heads)?;
    let state = match shape.shares.map(|layer| b.caches.get(&layer).copied()) {
        Some(Some(shared)) => shared,
        Some(None) => return Err(ChordError::internal("a layer shares a cache that is not there")),
        None => {
            let state = b.state(State::Kv(Kv::new(shape.kv_heads, shape.key_length, shape.value_length)));
            b.push(Op::KvWrite { state, key: s.key, value: s.value, head_dim: shape.key_length });
            b.caches.insert(l.index, state);
            state
        }
    };
    attend_to(b, l, state, sinks);
    Ok(())
}

/// Attends to what a state holds.
pub(super) fn attend_to(b: &mut Builder, l: &Layer, state: StateId, sinks: Option<WeightId>) {
    let (s, shape) = (l.slots, l.shape);
    b.push(Op::Attention {
        state,
        query: s.query,
        dst: s.attended,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.key_length,
        scale: shape.attention_scale,
        mask: shape.mask,
        softcap: shape.softcap,
        sinks,
        alibi: shape.alibi,
    });
}

/// Projections of `src`, rotation and attention, up to `attended`.
pub fn attention(b: &mut Builder, l: &Layer, src: Slot) -> Result<()> {
    project_qkv(b, l, src)?;
    rotate(b, l)?;
    attend(b, l)
}
