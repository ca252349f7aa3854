//! The parts that architectures share: attention, gated feed-forward, experts.

use super::builder::Builder;
use crate::error::Result;
use crate::program::{Activation, Epilogue, Mask, Op, RESIDUAL, RopeId, Routing, Scores, Slot, State};

/// The activation slots of a layer; every layer uses the same.
pub struct Slots {
    /// The normalised residual stream, input of the projections.
    pub normed: Slot,
    pub query: Slot,
    pub key: Slot,
    pub value: Slot,
    /// Attention's output, before its projection.
    pub attended: Slot,
    pub gate: Slot,
    pub up: Slot,
    /// A block's output where a norm follows before it joins the residual stream.
    pub output: Slot,
    pub experts: Option<ExpertSlots>,
}

/// Slots of a mixture of experts.
pub struct ExpertSlots {
    pub logits: Slot,
    pub choice: Slot,
    /// One row of the residual's width for each expert in use.
    pub outputs: Slot,
}

impl Slots {
    /// Declares the slots for the builder's configuration.
    pub fn new(b: &mut Builder) -> Slots {
        let c = b.config;
        let experts = (c.experts > 0).then(|| ExpertSlots {
            logits: b.slot(c.experts),
            choice: b.slot(2 * c.experts_used),
            outputs: b.slot(c.experts_used * c.embedding),
        });
        let inner = c.feed_forward * c.experts_used.max(1);
        Slots {
            normed: b.slot(c.embedding),
            query: b.slot(c.heads * c.key_length),
            key: b.slot(c.kv_heads * c.key_length),
            value: b.slot(c.kv_heads * c.value_length),
            attended: b.slot(c.heads * c.value_length),
            gate: b.slot(inner),
            up: b.slot(inner),
            output: b.slot(c.embedding),
            experts,
        }
    }
}

/// query, key, value = projections of the normed residual, from separate tensors or one fused.
pub fn project_qkv(b: &mut Builder, s: &Slots, prefix: &str) -> Result<()> {
    let fused = format!("{prefix}attn_qkv");
    if b.has(&format!("{fused}.weight")) {
        return b.fused(&fused, s.normed, &[s.query, s.key, s.value]);
    }
    b.linear(&format!("{prefix}attn_q"), s.normed, s.query)?;
    b.linear(&format!("{prefix}attn_k"), s.normed, s.key)?;
    b.linear(&format!("{prefix}attn_v"), s.normed, s.value)
}

/// A norm over each head of the queries and keys (Qwen 3, Gemma 3).
pub fn norm_heads(b: &mut Builder, s: &Slots, prefix: &str) -> Result<()> {
    let width = b.config.key_length;
    b.norm(&format!("{prefix}attn_q_norm"), s.query, s.query, width)?;
    b.norm(&format!("{prefix}attn_k_norm"), s.key, s.key, width)
}

/// Rotates queries and keys, appends to the cache and attends.
pub fn attend(b: &mut Builder, s: &Slots, layer: usize, rope: RopeId) {
    let c = b.config;
    let mask = c.sliding_window.filter(|_| c.sliding[layer]).map_or(Mask::Causal, Mask::Window);
    let state = b.state(State::Kv { key_width: c.kv_heads * c.key_length, value_width: c.kv_heads * c.value_length });
    b.push(Op::Rope { slot: s.query, heads: c.heads, head_dim: c.key_length, rope });
    b.push(Op::Rope { slot: s.key, heads: c.kv_heads, head_dim: c.key_length, rope });
    b.push(Op::KvWrite { state, key: s.key, value: s.value, head_dim: c.key_length });
    b.push(Op::Attention {
        state,
        query: s.query,
        dst: s.attended,
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.key_length,
        scale: c.attention_scale,
        mask,
        softcap: None,
        sinks: None,
        alibi: None,
    });
}

/// dst = or += down·(activation(gate·x) · (up·x)), with gate and up separate or fused into `ffn_up`.
///
/// llama.cpp applies the tensors' scales for some architectures only (`scaled`), and here after the bias.
pub fn feed_forward(
    b: &mut Builder,
    s: &Slots,
    prefix: &str,
    activation: Activation,
    scaled: bool,
    dst: Slot,
    accumulate: bool,
) -> Result<()> {
    let project = |b: &mut Builder, name: &str, src: Slot, dst: Slot, accumulate: bool| {
        let name = format!("{prefix}ffn_{name}");
        let epilogue = b.epilogue(&name, b.width(dst))?;
        let scale = epilogue.scale.filter(|_| scaled);
        b.project(&name, src, dst, Epilogue { scale, bias_first: true, accumulate, ..epilogue })
    };
    if b.has(&format!("{prefix}ffn_gate.weight")) {
        project(b, "gate", s.normed, s.gate, false)?;
        project(b, "up", s.normed, s.up, false)?;
    } else {
        b.fused(&format!("{prefix}ffn_up"), s.normed, &[s.gate, s.up])?;
    }
    b.push(Op::Gate { gate: s.gate, up: s.up, activation });
    project(b, "down", s.gate, dst, accumulate)
}

/// residual += the experts' outputs, weighted by the router.
pub fn experts(b: &mut Builder, s: &Slots, e: &ExpertSlots, prefix: &str) -> Result<()> {
    let c = b.config;
    let (count, used) = (c.experts, c.experts_used);
    b.linear(&format!("{prefix}ffn_gate_inp"), s.normed, e.logits)?;
    let routing = Routing { scores: Scores::Softmax, bias: None, normalise: true, scale: c.expert_scale };
    b.push(Op::Route { logits: e.logits, choice: e.choice, used, routing });
    for (name, src, dst, shared) in
        [("gate", s.normed, s.gate, true), ("up", s.normed, s.up, true), ("down", s.gate, e.outputs, false)]
    {
        if name == "down" {
            b.push(Op::Gate { gate: s.gate, up: s.up, activation: Activation::Silu });
        }
        let name = format!("{prefix}ffn_{name}_exps");
        let (rows, columns) = if shared { (c.feed_forward, c.embedding) } else { (c.embedding, c.feed_forward) };
        let view = b.matrix(&format!("{name}.weight"), rows, columns, count)?;
        let scale = b.optional(&format!("{name}.scale"), count)?;
        b.push(Op::ExpertMatMul { view, src, shared, dst, choice: e.choice, used, scale, bias: None });
    }
    b.push(Op::ExpertSum { src: e.outputs, dst: RESIDUAL, choice: e.choice, used });
    Ok(())
}
