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

/// One operand of an op, in its place.
#[derive(Debug, PartialEq, Eq)]
pub enum Operand<'a> {
    /// A slot whose values the op uses.
    Read(&'a mut Slot),
    /// A slot that gets new values.
    Write(&'a mut Slot),
    /// A slot whose values are changed.
    Update(&'a mut Slot),
    /// A matrix that it multiplies with.
    Matrix(&'a mut RowView),
    /// A matrix of which it takes rows as they are.
    Table(&'a mut WeightId),
    /// F32 values.
    Vector(&'a mut WeightId),
    /// State of the sequence that it uses.
    ReadState(&'a mut StateId),
    /// State of the sequence that it moves on.
    WriteState(&'a mut StateId),
}

impl Op {
    /// Shows every operand to `visit`: the one table of what an op reads, writes, weighs and remembers.
    pub fn operands(&mut self, visit: &mut dyn FnMut(Operand)) {
        use Operand::*;
        fn vectors(visit: &mut dyn FnMut(Operand), ids: [&mut Option<WeightId>; 2]) {
            ids.into_iter().flatten().for_each(|id| visit(Vector(id)));
        }
        match self {
            Op::Embed { table, dst, scale: _ } => {
                visit(Table(table));
                visit(Write(dst));
            }
            Op::EmbedPosition { table, dst } => {
                visit(Table(table));
                visit(Update(dst));
            }
            Op::Norm { kind: _, src, weight, bias, dst, width: _, epsilon: _ } => {
                vectors(visit, [weight, bias]);
                visit(Read(src));
                visit(Write(dst));
            }
            Op::MatMul { view, src, dst, epilogue } => {
                visit(Matrix(view));
                vectors(visit, [&mut epilogue.scale, &mut epilogue.bias]);
                visit(Read(src));
                visit(if epilogue.accumulate { Update(dst) } else { Write(dst) });
            }
            Op::Rope { slot, heads: _, head_dim: _, rope: _ } => visit(Update(slot)),
            Op::KvWrite { state, key, value, head_dim: _ } => {
                visit(Read(key));
                visit(Read(value));
                visit(WriteState(state));
            }
            Op::Attention {
                state,
                query,
                dst,
                sinks,
                heads: _,
                kv_heads: _,
                head_dim: _,
                scale: _,
                mask: _,
                softcap: _,
                alibi: _,
            } => {
                visit(ReadState(state));
                sinks.iter_mut().for_each(|id| visit(Vector(id)));
                visit(Read(query));
                visit(Write(dst));
            }
            Op::Gate { gate, up, activation: _ } => {
                visit(Read(up));
                visit(Update(gate));
            }
            Op::Activate { slot, activation: _ } => visit(Update(slot)),
            Op::Add { src, dst } => {
                visit(Read(src));
                visit(Update(dst));
            }
            Op::Scale { slot, factor: _ } => visit(Update(slot)),
            Op::Weigh { slot, weight } => {
                visit(Vector(weight));
                visit(Update(slot));
            }
            Op::Clamp { slot, limit: _ } => visit(Update(slot)),
            Op::Softcap { slot, cap: _ } => visit(Update(slot)),
            Op::Route { logits, choice, used: _, routing } => {
                routing.bias.iter_mut().for_each(|id| visit(Vector(id)));
                visit(Read(logits));
                visit(Write(choice));
            }
            Op::ExpertMatMul { view, src, shared: _, dst, choice, used: _, scale, bias } => {
                visit(Matrix(view));
                vectors(visit, [scale, bias]);
                visit(Read(src));
                visit(Read(choice));
                visit(Write(dst));
            }
            Op::ExpertSum { src, dst, choice, used: _ } => {
                visit(Read(src));
                visit(Read(choice));
                visit(Update(dst));
            }
            Op::Copy { src, dst, run: _, count: _, from: _, to: _ } => {
                visit(Read(src));
                visit(Update(dst));
            }
            Op::ShortConv { state, slot, kernel, bias } => {
                visit(Vector(kernel));
                bias.iter_mut().for_each(|id| visit(Vector(id)));
                visit(WriteState(state));
                visit(Update(slot));
            }
            Op::Scan { state, input, step, key, query, dst, bias, rate, skip, groups: _ } => {
                bias.iter_mut().for_each(|id| visit(Vector(id)));
                [rate, skip].into_iter().for_each(|id| visit(Vector(id)));
                [input, step, key, query].into_iter().for_each(|slot| visit(Read(slot)));
                visit(WriteState(state));
                visit(Write(dst));
            }
            Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups: _, interleaved: _ } => {
                [bias, rate].into_iter().for_each(|id| visit(Vector(id)));
                [query, key, value, decay, beta].into_iter().for_each(|slot| visit(Read(slot)));
                visit(WriteState(state));
                visit(Write(dst));
            }
        }
    }

    /// The slot that it writes or changes, if any.
    pub fn destination(&self) -> Option<Slot> {
        let mut destination = None;
        { *self }.operands(&mut |operand| {
            if let Operand::Write(slot) | Operand::Update(slot) = operand {
                destination = Some(*slot);
            }
        });
        destination
    }

    /// Whether it uses the values of a slot, be it the one that it changes.
    pub fn reads(&self, slot: Slot) -> bool {
        let mut reads = false;
        { *self }.operands(&mut |operand| {
            if let Operand::Read(read) | Operand::Update(read) = operand {
                reads |= *read == slot;
            }
        });
        reads
    }

    /// The state that it moves on, if any.
    pub fn written_state(&self) -> Option<StateId> {
        let mut written = None;
        { *self }.operands(&mut |operand| {
            if let Operand::WriteState(state) = operand {
                written = Some(*state);
            }
        });
        written
    }

    /// The matrix that it multiplies with, if any.
    pub fn matrix(&self) -> Option<RowView> {
        let mut matrix = None;
        { *self }.operands(&mut |operand| {
            if let Operand::Matrix(view) = operand {
                matrix = Some(*view);
            }
        });
        matrix
    }
}
