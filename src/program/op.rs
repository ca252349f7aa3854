//! The operations that every model is made of. A batch is a run of tokens of one sequence at consecutive
//! positions. Every activation slot holds `width` f32 values for each token of the batch, token-major.
//!
//! What an op reads and writes stands in one table, [`Op::operands`]; whoever wants to know asks it.

use super::{AdapterId, RopeId, RowView, StateId, WeightId};

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
    /// e^m − 1 − m, where m = min(x, 0): what an exponential is above its tangent, below zero.
    ExpBelow,
    /// e^x, where x beyond −40 and 40 counts as that.
    Exp,
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
    /// Not at all: what is left of each value is by how much it exceeds the mean and `epsilon` times the standard
    /// deviation (of a sample) of its run, and 0 where it does not.
    Excess,
}

/// Which positions a token attends to; its own is always among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All before it.
    Causal,
    /// The `n − 1` before it.
    Window(usize),
    /// Those before it of its own chunk of `n` positions.
    Chunked(usize),
    /// All of the text, those after it among them.
    Full,
    /// The `n` before it and the `n` after it.
    Around(usize),
}

impl Mask {
    /// The first position that the token at `position` attends to.
    pub fn first(self, position: usize) -> usize {
        match self {
            Mask::Causal | Mask::Full => 0,
            Mask::Around(tokens) => position.saturating_sub(tokens),
            Mask::Window(tokens) => (position + 1).saturating_sub(tokens),
            Mask::Chunked(tokens) => position / tokens * tokens,
        }
    }

    /// The position after the last that the token at `position` attends to, in a text of so many `positions`.
    pub fn end(self, position: usize, positions: usize) -> usize {
        match self {
            Mask::Causal | Mask::Window(_) | Mask::Chunked(_) => position + 1,
            Mask::Full => positions,
            Mask::Around(tokens) => positions.min(position + tokens + 1),
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
    /// What logits become before the best are chosen; the weights are the scores of the chosen.
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
    /// Values before the first run.
    pub first: usize,
    /// Values from the beginning of a run to that of the next.
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
    /// Adds to what the destination holds; it is replaced otherwise.
    pub accumulate: bool,
}

/// A step of the forward pass. `t` below is a token of the batch, and widths are values a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// `dst[t]` = `table[token(t)]` · scale
    Embed {
        /// A row for each token of the vocabulary, as wide as `dst`.
        table: WeightId,
        /// The residual stream, or what else each token has of its own.
        dst: Slot,
        /// Factor of every value; 1 changes nothing.
        scale: f32,
    },
    /// `dst[t]` += `table[position(t)]`
    EmbedPosition {
        /// A row for each position of the context, as wide as the residual stream.
        table: WeightId,
        /// The residual stream.
        dst: Slot,
    },
    /// `dst[t]` += `table[row]`, the same for every token.
    EmbedRow {
        /// Rows as wide as the residual stream.
        table: WeightId,
        /// Which of them.
        row: usize,
        /// The residual stream.
        dst: Slot,
    },
    /// Every `width` values of a row on their own: dst = normalised src · weight + bias.
    Norm {
        /// Whether the mean is taken off first.
        kind: Norm,
        /// Whole rows; may be `dst`.
        src: Slot,
        /// `width` factors for every run, or for a norm over heads as many as the row has, with a part of its own for
        /// each head. Without it the factor is 1.
        weight: Option<WeightId>,
        /// What is added, of as many values as `weight` may have.
        bias: Option<WeightId>,
        /// As wide as `src`.
        dst: Slot,
        /// The row's width, or the head's for a norm over heads; divides the row's.
        width: usize,
        /// Added to the mean square, or to the variance, before the root is taken; of [`Norm::Excess`] the factor.
        epsilon: f32,
    },
    /// `dst[t]` = epilogue(W · `src[t]`)
    MatMul {
        /// The rows of W, one for each value of `dst`.
        view: RowView,
        /// As wide as W has columns.
        src: Slot,
        /// As wide as `view` has rows. Not `src`.
        dst: Slot,
        /// What is done to the sums before they come to be in `dst`.
        epilogue: Epilogue,
    },
    /// Rotates each head in place, by the token's position.
    Rope {
        /// Queries or keys, `heads` · `head_dim` wide, one head after the other.
        slot: Slot,
        /// Heads of the slot.
        heads: usize,
        /// Values of a head; of them the rotation's `dims` turn, from the first on.
        head_dim: usize,
        /// By which angles, and which pairs.
        rope: RopeId,
    },
    /// Appends the batch's keys and values to a cache, at the positions of the batch.
    KvWrite {
        /// A [`State::Kv`](super::State::Kv).
        state: StateId,
        /// As wide as the cache's keys, one head after the other.
        key: Slot,
        /// As wide as the cache's values, one head after the other.
        value: Slot,
        /// Values of a head of the keys; there are as many heads of values.
        head_dim: usize,
    },
    /// Grouped-query attention over a cache, to the positions that `mask` lets each token see.
    Attention {
        /// A [`State::Kv`](super::State::Kv) that holds whatever is seen.
        state: StateId,
        /// `heads` · `head_dim` wide, one head after the other.
        query: Slot,
        /// `heads` times a head's value wide, one head after the other.
        dst: Slot,
        /// Heads of queries.
        heads: usize,
        /// Heads of keys and values; query head h has those of h / (`heads` / `kv_heads`).
        kv_heads: usize,
        /// Values of a query's and of a key's head. A head of values has the cache's width / `kv_heads`.
        head_dim: usize,
        /// Factor of the products of queries and keys.
        scale: f32,
        /// Which positions a token sees.
        mask: Mask,
        /// c: scores x become c · tanh(x / c).
        softcap: Option<f32>,
        /// A logit for each head that takes its share of the softmax and adds nothing, F32.
        sinks: Option<WeightId>,
        /// The largest bias of ALiBi: scores fall off with the distance, by [`alibi_slope`].
        alibi: Option<f32>,
    },
    /// gate = activation(gate) · up
    Gate {
        /// What is activated, and where the product comes to be.
        gate: Slot,
        /// As wide as `gate`.
        up: Slot,
        /// Of the gate; [`Activation::SwigluLimited`] changes `up` on the way, too.
        activation: Activation,
    },
    /// slot = activation(slot)
    Activate {
        /// Of any width.
        slot: Slot,
        /// Any that needs no second operand.
        activation: Activation,
    },
    /// dst += src
    Add {
        /// As wide as `dst`.
        src: Slot,
        /// What is added to.
        dst: Slot,
    },
    /// slot = slot · factor
    Scale {
        /// Of any width.
        slot: Slot,
        /// The same for all values.
        factor: f32,
    },
    /// slot = slot · factor · the adapter's scale
    Adapt {
        /// What the first of two factors made of a product's input.
        slot: Slot,
        /// Whose scale it is.
        adapter: AdapterId,
        /// The same for all values, as the adapter's file has it.
        factor: f32,
    },
    /// slot = slot · weight
    Weigh {
        /// Of any width.
        slot: Slot,
        /// One F32 value for all, or one for each value of the row.
        weight: WeightId,
    },
    /// slot = slot within −limit and limit
    Clamp {
        /// Of any width.
        slot: Slot,
        /// Above zero.
        limit: f32,
    },
    /// slot = cap · tanh(slot / cap)
    Softcap {
        /// Of any width; as a rule the logits.
        slot: Slot,
        /// Above zero; results lie between −cap and cap.
        cap: f32,
    },
    /// Chooses the `used` best of the experts for each token, with a weight for each.
    Route {
        /// A value for each expert. What it holds afterwards is of no use.
        logits: Slot,
        /// 2 · `used` wide: the numbers of the chosen, as f32, then their weights in the same order.
        choice: Slot,
        /// Experts for a token.
        used: usize,
        /// How they are chosen and weighed.
        routing: Routing,
    },
    /// For each chosen expert e = `choice[t][j]`: `dst[t][j]` = (W_e · src) · `scale[e]` + `bias[e]`.
    ExpertMatMul {
        /// The first expert's rows; expert e's begin e · `view.rows` further on in the same weight.
        view: RowView,
        /// One row for all experts, as wide as W has columns, or `used` of them: `src[t][j]`.
        src: Slot,
        /// Whether `src` is one row for all.
        shared: bool,
        /// `used` · `view.rows` wide, in the order of the choice.
        dst: Slot,
        /// As [`Op::Route`] writes it.
        choice: Slot,
        /// Experts for a token.
        used: usize,
        /// One F32 value for each expert of the model.
        scale: Option<WeightId>,
        /// `view.rows` F32 values for each expert of the model.
        bias: Option<WeightId>,
    },
    /// `dst[t]` += Σ_j weight j · `src[t][j]`
    ExpertSum {
        /// `used` rows as wide as `dst`, in the order of the choice.
        src: Slot,
        /// What is added to.
        dst: Slot,
        /// As [`Op::Route`] writes it.
        choice: Slot,
        /// Experts for a token.
        used: usize,
    },
    /// Puts runs of `src[t]` into `dst[t]`, and leaves the rest of it as it is.
    Copy {
        /// Not `dst`.
        src: Slot,
        /// Wide enough for what is put there.
        dst: Slot,
        /// Values of a run.
        run: usize,
        /// Runs of each row.
        count: usize,
        /// Where they lie in `src`. With a step of zero the same run is put several times.
        from: Runs,
        /// Where they come to lie in `dst`.
        to: Runs,
    },
    /// A causal convolution of every value with those of the tokens before it, in place:
    /// `slot[t][c]` = Σ_j `kernel[c][j]` · `slot[t − taps + j][c]` + `bias[c]`, over the `taps` tokens before and the
    /// token itself.
    ShortConv {
        /// A [`State::Conv`](super::State::Conv) of the slot's width, which has the number of taps.
        state: StateId,
        /// Values that are convolved, each for itself.
        slot: Slot,
        /// `taps` + 1 F32 values for each of the slot's. Without it the oldest takes the place of the token's own.
        kernel: Option<WeightId>,
        /// One F32 value for each of the slot's.
        bias: Option<WeightId>,
    },
    /// A selective scan, <https://arxiv.org/abs/2312.00752>, over a matrix S of a row for each value of a head's input
    /// and a column for each of its key: with Δ = softplus(step + `bias`), S = S · e^(Δ · `rate`) + Δ · input ⊗ key, and
    /// dst = S · query + `skip` · input.
    Scan {
        /// A [`State::Recurrent`](super::State::Recurrent), which has the number of heads, rows and columns.
        state: StateId,
        /// heads · rows wide.
        input: Slot,
        /// A value for each head.
        step: Slot,
        /// `groups` · columns wide: a key for each group, which head h has of group h / (heads / `groups`).
        key: Slot,
        /// Like `key`.
        query: Slot,
        /// As wide as `input`.
        dst: Slot,
        /// A value for each head.
        bias: Option<WeightId>,
        /// A value for each head, or for each column of each head. Negative: S decays.
        rate: WeightId,
        /// A value for each head.
        skip: WeightId,
        /// Groups of heads that share keys and queries; divides the heads.
        groups: usize,
    },
    /// What RWKV keeps, <https://arxiv.org/abs/2503.14456>, over a matrix S of a row for each value and a column for each
    /// key: S = S · e^decay − (S · u) ⊗ v + value ⊗ key, for `erase` of u and v and S as it was, and dst = S · query.
    Wkv {
        /// A [`State::Recurrent`](super::State::Recurrent), which has the number of heads, rows and columns.
        state: StateId,
        /// heads · columns wide, as `key` and `decay`.
        query: Slot,
        /// What values are kept under.
        key: Slot,
        /// heads · rows wide.
        value: Slot,
        /// A value for each key. Negative: S decays.
        decay: Slot,
        /// What is taken away first: each as wide as `key`.
        erase: Option<[Slot; 2]>,
        /// As wide as `value`.
        dst: Slot,
        /// Whether the query is answered by S as it was before the token.
        early: bool,
    },
    /// What a token answers to itself: dst = (query · key) · value, for each head.
    Echo {
        /// As wide as `key`.
        query: Slot,
        /// One head after the other.
        key: Slot,
        /// As wide as `dst`.
        value: Slot,
        /// One head after the other.
        dst: Slot,
        /// Divides all widths.
        heads: usize,
    },
    /// The gated delta rule, <https://arxiv.org/abs/2412.06464>, over a matrix S of a row for each value and a column
    /// for each key: S = S · e^g, then S += β · (v − S·k) ⊗ k, and dst = S · q. For each head,
    /// g = softplus(decay + `bias`) · `rate` and β = sigmoid(beta).
    DeltaRule {
        /// A [`State::Recurrent`](super::State::Recurrent), which has the number of heads, rows and columns.
        state: StateId,
        /// `groups` · columns wide, normalised and scaled already.
        query: Slot,
        /// `groups` · columns wide, normalised already.
        key: Slot,
        /// heads · rows wide.
        value: Slot,
        /// A value for each head, or one for each of its keys.
        decay: Slot,
        /// A value for each head.
        beta: Slot,
        /// As wide as `value`.
        dst: Slot,
        /// A value for each of `decay`.
        bias: WeightId,
        /// A value for each head. Negative: S decays.
        rate: WeightId,
        /// Groups of heads that share queries and keys; divides the heads.
        groups: usize,
        /// Whether head h has the queries and keys of group h mod `groups`; else of h / (heads / `groups`).
        interleaved: bool,
    },
}
