//! The operations that every model is made of. A batch is a run of tokens of one sequence at consecutive
//! positions. Every activation slot holds `width` f32 values for each token of the batch, token-major.

use super::{RowView, WeightId};

/// An activation buffer, an index into [`Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u16);

/// The residual stream.
pub const RESIDUAL: Slot = Slot(0);

/// The non-linearity of a gated feed-forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x)
    Silu,
    /// The tanh approximation of GELU.
    Gelu,
}

/// What happens to a product on its way out: (W·x) · scale + bias, and whether that replaces or joins
/// what the destination holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// One F32 value.
    pub scale: Option<WeightId>,
    /// One F32 value for each row.
    pub bias: Option<WeightId>,
    /// (W·x + bias) · scale instead.
    pub bias_first: bool,
    pub accumulate: bool,
}

/// A step of the forward pass. `[w]` below is the width of a slot, `t` a token of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// dst[t] = table[token(t)] · scale
    Embed { table: WeightId, dst: Slot, scale: f32 },
    /// Every `width` values of a row on their own: dst = src / sqrt(mean(src²) + epsilon) · weight.
    /// `width` is the row's width, or the head's for a norm over heads. `src` may be `dst`.
    RmsNorm { src: Slot, weight: WeightId, dst: Slot, width: usize, epsilon: f32 },
    /// dst[t] = epilogue(W · src[t])
    MatMul { view: RowView, src: Slot, dst: Slot, epilogue: Epilogue },
    /// Rotates each of `heads` heads of `head_dim` values in place; `rope` indexes [`Program::ropes`].
    Rope { slot: Slot, heads: usize, head_dim: usize, rope: usize },
    /// Appends the batch's keys and values to the cache of `layer`; a head of the keys has `head_dim` values.
    KvWrite { layer: usize, key: Slot, value: Slot, head_dim: usize },
    /// Causal grouped-query attention over the cache of `layer`, up to each token's own position.
    /// With `window`, a token sees itself and the `window − 1` before it. `softcap` c: c·tanh(x/c).
    Attention {
        layer: usize,
        query: Slot,
        dst: Slot,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        scale: f32,
        window: Option<usize>,
        softcap: Option<f32>,
    },
    /// gate = activation(gate) · up
    Gate { gate: Slot, up: Slot, activation: Activation },
    /// dst += src
    Add { src: Slot, dst: Slot },
    /// slot = cap · tanh(slot / cap)
    Softcap { slot: Slot, cap: f32 },
    /// Chooses the `used` best of the experts scored in `logits` [experts] for each token, and writes
    /// their numbers and weights to `choice` [2 · used]: numbers first (as f32), then weights. The
    /// weights are the softmax over all experts, renormalised over the chosen if `normalise`, times `scale`.
    Route { logits: Slot, choice: Slot, used: usize, normalise: bool, scale: f32 },
    /// For each chosen expert e = choice[t][j]: dst[t][j] = (W_e · src) · scale[e], where `view` spans
    /// the first expert's rows and expert e's start `e · view.rows` further on. `src` is one row for
    /// all experts (`shared`) or one for each: src[t][j].
    ExpertMatMul {
        view: RowView,
        src: Slot,
        shared: bool,
        dst: Slot,
        choice: Slot,
        used: usize,
        scale: Option<WeightId>,
    },
    /// dst[t] += Σ_j choice weight j · src[t][j]
    ExpertSum { src: Slot, dst: Slot, choice: Slot, used: usize },
}

/// The slot that an op writes.
pub fn destination(op: &Op) -> Option<Slot> {
    match *op {
        Op::Embed { dst, .. } | Op::RmsNorm { dst, .. } | Op::MatMul { dst, .. } | Op::Attention { dst, .. } => {
            Some(dst)
        }
        Op::Add { dst, .. } | Op::ExpertMatMul { dst, .. } | Op::ExpertSum { dst, .. } => Some(dst),
        Op::Rope { slot, .. } | Op::Softcap { slot, .. } => Some(slot),
        Op::Gate { gate, .. } => Some(gate),
        Op::Route { choice, .. } => Some(choice),
        Op::KvWrite { .. } => None,
    }
}

/// Whether an op reads a slot, be it the one that it writes.
pub fn reads(op: &Op, slot: Slot) -> bool {
    match *op {
        Op::Embed { .. } => false,
        Op::RmsNorm { src, .. } | Op::MatMul { src, .. } => src == slot,
        Op::Rope { slot: s, .. } | Op::Softcap { slot: s, .. } => s == slot,
        Op::KvWrite { key, value, .. } => key == slot || value == slot,
        Op::Attention { query, .. } => query == slot,
        Op::Gate { gate, up, .. } => gate == slot || up == slot,
        Op::Add { src, dst } => src == slot || dst == slot,
        Op::Route { logits, .. } => logits == slot,
        Op::ExpertMatMul { src, choice, .. } => src == slot || choice == slot,
        Op::ExpertSum { src, choice, dst, .. } => src == slot || choice == slot || dst == slot,
    }
}
