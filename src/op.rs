//! The list of operations that every model is made of. A backend (`cpu`, `gpu`) executes the list
//! and knows nothing of models; a model writes the list and knows nothing of backends.
//!
//! A batch is a run of tokens of one sequence at consecutive positions. Every activation slot holds
//! `width` f32 values for each token of the batch, token-major.

use std::ops::Range;

/// An activation buffer, an index into [`Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u16);

/// A weight tensor, an index into [`Program::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightId(pub u32);

/// Consecutive rows of a weight matrix: a fused tensor (`attn_qkv`) is several views of one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView {
    pub weight: WeightId,
    pub first_row: usize,
    pub rows: usize,
}

/// How pairs of a head are formed for the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours (2i, 2i+1) rotate together, as in Llama.
    Interleaved,
    /// Halves (i, i + dims/2) rotate together, as in GPT-NeoX.
    Halves,
}

/// Rotary position embedding with the scalings of llama.cpp's `rope_yarn`.
/// θ_i = position · base^(−2i/dims) / factors[i], then linear scaling and the YaRN ramp.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Values of each head that rotate; the rest pass through.
    pub dims: usize,
    pub style: RopeStyle,
    pub base: f32,
    /// Linear scaling of positions: 1 / factor.
    pub frequency_scale: f32,
    /// YaRN's share of extrapolation: 0 is pure linear scaling.
    pub extrapolation: f32,
    /// Magnitude of the rotated vectors.
    pub attention_factor: f32,
    pub beta_fast: f32,
    pub beta_slow: f32,
    /// The context length that the model was first trained with.
    pub original_context: f32,
    /// Per-frequency divisors (`rope_freqs`, `rope_factors_long|short`), `dims / 2` values, F32.
    pub factors: Option<WeightId>,
}

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

/// A weight tensor as the program sees it: `rows` rows of `columns` values (all experts' rows in one).
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    pub name: String,
    pub dtype: crate::quant::Dtype,
    pub rows: usize,
    pub columns: usize,
    /// Its group, and its place in [`Group::weights`].
    pub group: usize,
    pub index: usize,
    /// Where it lies in its group's memory, in bytes; a multiple of [`WEIGHT_ALIGNMENT`].
    pub group_offset: usize,
    pub bytes: usize,
    /// Where it lies in the source: number of the file part, and the offset in that file.
    pub part: u16,
    pub file_offset: u64,
    /// Whether some op multiplies with it: such weights may be repacked, others are read as they are.
    pub is_matrix: bool,
}

/// Alignment of weights within a group, in bytes.
pub const WEIGHT_ALIGNMENT: usize = 64;

/// The weights that are needed together and move through memory together: the embedding, one layer, the head.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub weights: Vec<WeightId>,
    pub bytes: usize,
}

/// A model, compiled: what to compute, in what order, from which weights.
#[derive(Clone, Debug)]
pub struct Program {
    /// Width of each slot in f32 values per token. Slot 0 is the residual stream: it lives across
    /// groups, the others only within one.
    pub slots: Vec<usize>,
    pub weights: Vec<Weight>,
    pub ropes: Vec<Rope>,
    /// Group 0 is the embedding, 1 to n the layers, n + 1 the head.
    pub groups: Vec<Group>,
    /// The ops of each group. The head's end in `logits`.
    pub ops: Vec<Vec<Op>>,
    /// Where the head leaves the logits. With tied embeddings the head's ops read the table of group 0.
    pub logits: Slot,
    /// Key and value widths of each layer's cache, in values per token.
    pub kv_widths: Vec<(usize, usize)>,
    pub vocabulary: usize,
}

impl Program {
    /// A program without ops, of so many groups.
    pub fn empty(width: usize, vocabulary: usize, groups: usize) -> Program {
        Program {
            slots: vec![width],
            weights: Vec::new(),
            ropes: Vec::new(),
            groups: vec![Group { weights: Vec::new(), bytes: 0 }; groups],
            ops: vec![Vec::new(); groups],
            logits: RESIDUAL,
            kv_widths: Vec::new(),
            vocabulary,
        }
    }

    /// Adds a weight that no file has.
    pub fn add_weight(
        &mut self,
        group: usize,
        dtype: crate::quant::Dtype,
        [rows, columns]: [usize; 2],
        is_matrix: bool,
    ) -> WeightId {
        let bytes = rows * dtype.row_bytes(columns as u64).unwrap_or(0) as usize;
        self.push_weight(Weight {
            name: String::new(),
            dtype,
            rows,
            columns,
            group,
            index: 0,
            group_offset: 0,
            bytes,
            part: 0,
            file_offset: 0,
            is_matrix,
        })
    }

    /// Puts a weight behind the others of its group.
    pub fn push_weight(&mut self, weight: Weight) -> WeightId {
        let id = WeightId(self.weights.len() as u32);
        let Group { weights, bytes } = &mut self.groups[weight.group];
        let weight = Weight { index: weights.len(), group_offset: *bytes, ..weight };
        let end = bytes.saturating_add(weight.bytes);
        *bytes = end.checked_next_multiple_of(WEIGHT_ALIGNMENT).unwrap_or(end);
        weights.push(id);
        self.weights.push(weight);
        id
    }

    /// Where the head leaves its normalised input: the hidden state.
    pub fn hidden(&self) -> Slot {
        match self.ops.last().and_then(|ops| ops.first()) {
            Some(Op::RmsNorm { dst, .. }) => *dst,
            _ => RESIDUAL,
        }
    }
}

/// The residual stream.
pub const RESIDUAL: Slot = Slot(0);

/// Consecutive tokens of the sequence.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    /// Position of the first in the sequence.
    pub position: usize,
    /// Their rows of the residual stream.
    pub rows: Range<usize>,
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

/// How a backend that samples itself chooses a token: the sampler's fields for one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 1 is greedy.
    pub top_k: u32,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    /// Between 0 and 1.
    pub random: f32,
}

impl Draw {
    /// The largest logit.
    pub const GREEDY: Draw = Draw { top_k: 1, temperature: 1.0, top_p: 1.0, min_p: 0.0, random: 0.0 };

    /// Largest `top_k` to draw from.
    pub const TOP_K_MAX: u32 = 64;
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The next token, chosen by the backend if it can.
    Token(Draw),
    /// All logits.
    Logits,
    /// The head's normalised input.
    Hidden,
}

/// Whether the results of a pass are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    Pending,
    Ready,
    /// The device is gone, with all that was on it.
    Lost,
}
