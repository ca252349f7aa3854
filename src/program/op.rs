//! The operations that every model is made of. A batch is a run of tokens of one sequence at consecutive
//! positions. Every activation slot holds `width` f32 values for each token of the batch, token-major.
//!
//! What an op reads and writes stands in one table, [`Op::operands`]; whoever wants to know asks it.

use super::{RopeId, RowView, StateId, WeightId};

/// An activation buffer of [`super::Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u16);

/// The residual stream.
pub const RESIDUAL: Slot = Slot(0);

/// A non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// x · sigmoid(x)
    Silu,
    /// The tanh approximation of GELU.
    Gelu,
    /// GELU by the error function.
    GeluErf,
    /// max(x, 0)
    Relu,
    /// max(x, 0)²
    ReluSquared,
    /// 1 / (1 + e^−x)
    Sigmoid,
    /// Of a gate only: g · sigmoid(1.702·g) · (u + 1), with g at most 7 and u within −7 and 7, as gpt-oss has it.
    SwigluLimited,
}

/// How a row is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// By the root of the mean square.
    Rms,
    /// To mean 0 and variance 1.
    Layer,
}

/// Which positions before its own a token attends to; itself it always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All.
    Causal,
    /// The `n − 1` before it.
    Window(usize),
    /// Those of its own chunk of `n` positions.
    Chunked(usize),
}

impl Mask {
    /// The first position that the token at `position` attends to.
    pub fn first(self, position: usize) -> usize {
        match self {
            Mask::Causal => 0,
            Mask::Window(tokens) => (position + 1).saturating_sub(tokens),
            Mask::Chunked(tokens) => position / tokens * tokens,
        }
    }
}

/// How fast a head's scores fall off with the distance under ALiBi, of `heads` heads and a largest bias of
/// `most`. <https://arxiv.org/abs/2108.12409>
pub fn alibi_slope(most: f32, heads: usize, head: usize) -> f32 {
    // Where the heads are no power of two, the rest lie between those that are.
    let whole = 1 << heads.max(1).ilog2();
    match head < whole {
        true => (-most / whole as f32 * (head + 1) as f32).exp2(),
        false => (-most / 2.0 / whole as f32 * (2 * (head - whole) + 1) as f32).exp2(),
    }
}

/// What the choice of experts goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// The softmax over all experts.
    Softmax,
    /// The softmax over the logits of the chosen.
    SoftmaxOfChosen,
    /// Each logit's sigmoid.
    Sigmoid,
}

/// How a router chooses experts, and what weights it gives them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    pub scores: Scores,
    /// Added to the scores for the choice only, one F32 value for each expert.
    pub bias: Option<WeightId>,
    /// Divides the weights by their sum.
    pub normalise: bool,
    /// Factor of the weights.
    pub scale: f32,
}

/// Where runs of values lie in a row: the n-th begins at `first` + n · `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    pub first: usize,
    pub step: usize,
}

impl Runs {
    /// Where the n-th begins.
    pub fn at(self, n: usize) -> usize {
        self.first + n * self.step
    }
}

/// What happens to a product on its way out: (W·x) · scale + bias, and whether that replaces or joins
/// what the destination holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// One F32 value.
    pub scale: Option<WeightId>,
    /// One F32 value for each row of the weight, of which a view takes its own.
    pub bias: Option<WeightId>,
    /// (W·x + bias) · scale instead.
    pub bias_first: bool,
    pub accumulate: bool,
}

/// A step of the forward pass. `[w]` below is the width of a slot, `t` a token of the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// `dst[t]` = `table[token(t)]` · scale
    Embed { table: WeightId, dst: Slot, scale: f32 },
    /// `dst[t]` += `table[position(t)]`
    EmbedPosition { table: WeightId, dst: Slot },
    /// Every `width` values of a row on their own: dst = normalised src · weight + bias. `width` is the row's
    /// width, or the head's for a norm over heads; then a weight may be of the whole row, with a part of its
    /// own for each head. `src` may be `dst`.
    Norm {
        kind: Norm,
        src: Slot,
        weight: Option<WeightId>,
        bias: Option<WeightId>,
        dst: Slot,
        width: usize,
        epsilon: f32,
    },
    /// `dst[t]` = epilogue(W · `src[t]`)
    MatMul { view: RowView, src: Slot, dst: Slot, epilogue: Epilogue },
    /// Rotates each of `heads` heads of `head_dim` values in place.
    Rope { slot: Slot, heads: usize, head_dim: usize, rope: RopeId },
    /// Appends the batch's keys and values to a cache; a head of the keys has `head_dim` values.
    KvWrite { state: StateId, key: Slot, value: Slot, head_dim: usize },
    /// Grouped-query attention over a cache, up to each token's own position, as far as `mask` lets it see.
    /// `softcap` c: c·tanh(x/c). `sinks` has a logit for each head that takes its share of the softmax and
    /// adds nothing. `alibi` is the largest bias of ALiBi: scores fall off with the distance.
    Attention {
        state: StateId,
        query: Slot,
        dst: Slot,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        scale: f32,
        mask: Mask,
        softcap: Option<f32>,
        sinks: Option<WeightId>,
        alibi: Option<f32>,
    },
    /// gate = activation(gate) · up
    Gate { gate: Slot, up: Slot, activation: Activation },
    /// slot = activation(slot)
    Activate { slot: Slot, activation: Activation },
    /// dst += src
    Add { src: Slot, dst: Slot },
    /// slot = slot · factor
    Scale { slot: Slot, factor: f32 },
    /// slot = slot · weight, which has one value or one for each.
    Weigh { slot: Slot, weight: WeightId },
    /// slot = slot within −limit and limit
    Clamp { slot: Slot, limit: f32 },
    /// slot = cap · tanh(slot / cap)
    Softcap { slot: Slot, cap: f32 },
    /// Chooses the `used` best of the experts scored in `logits` `[experts]` for each token, and writes
    /// their numbers and weights to `choice` [2 · used]: numbers first (as f32), then weights.
    Route { logits: Slot, choice: Slot, used: usize, routing: Routing },
    /// For each chosen expert e = `choice[t][j]`: `dst[t][j]` = (W_e · src) · `scale[e]` + `bias[e]`, where `view`
    /// spans the first expert's rows and expert e's start `e · view.rows` further on. `src` is one row for
    /// all experts (`shared`) or one for each: `src[t][j]`.
    ExpertMatMul {
        view: RowView,
        src: Slot,
        shared: bool,
        dst: Slot,
        choice: Slot,
        used: usize,
        scale: Option<WeightId>,
        bias: Option<WeightId>,
    },
    /// `dst[t]` += Σ_j choice weight j · `src[t][j]`
    ExpertSum { src: Slot, dst: Slot, choice: Slot, used: usize },
    /// Puts `count` runs of `run` values of `src[t]` into `dst[t]`, and leaves the rest of it as it is. With a step
    /// of zero the same run is put several times.
    Copy { src: Slot, dst: Slot, run: usize, count: usize, from: Runs, to: Runs },
    /// A causal convolution of every value with those of the tokens before it, in place:
    /// `slot[t][c]` = Σ_j `kernel[c][j]` · `slot[t − taps + j][c]` + `bias[c]`, over the `taps` tokens before and the
    /// token itself. `kernel` has `taps` + 1 values for each of the slot's, `bias` one.
    ShortConv { state: StateId, slot: Slot, kernel: WeightId, bias: Option<WeightId> },
    /// A selective scan, <https://arxiv.org/abs/2312.00752>, over a matrix S of a row for each value of a head's input
    /// and a column for each of its key: with Δ = softplus(step + `bias`), S = S · e^(Δ · `rate`) + Δ · input ⊗ key, and
    /// dst = S · query + `skip` · input. `step` has a value for each head; keys and queries are those of its group.
    Scan {
        state: StateId,
        input: Slot,
        step: Slot,
        key: Slot,
        query: Slot,
        dst: Slot,
        /// A value for each head.
        bias: Option<WeightId>,
        /// A value for each head, or for each column of each head.
        rate: WeightId,
        /// A value for each head.
        skip: WeightId,
        groups: usize,
    },
    /// The gated delta rule, <https://arxiv.org/abs/2412.06464>, over a matrix S of a row for each value and a column
    /// for each key: S = S · e^g, then S += β · (v − S·k) ⊗ k, and dst = S · q. For each head,
    /// g = softplus(decay + `bias`) · `rate` and β = sigmoid(beta); `decay` has a value for each head, or one for
    /// each of its keys. Head h has the queries and keys of group h / (heads / groups), or if they are
    /// `interleaved`, h mod groups.
    DeltaRule {
        state: StateId,
        query: Slot,
        key: Slot,
        value: Slot,
        decay: Slot,
        beta: Slot,
        dst: Slot,
        /// A value for each of `decay`.
        bias: WeightId,
        /// A value for each head.
        rate: WeightId,
        groups: usize,
        interleaved: bool,
    },
}
