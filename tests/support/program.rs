//! Programs written in code, as a model writes them, without a file: for tests of single kernels and for
//! measurements.
#![allow(dead_code)] // Each user needs a part.

use wasm_chord::program::*;
use wasm_chord::quant::Dtype;

/// What attention is like.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub value_dim: usize,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
}

/// Writes a program group by group.
pub struct Writer {
    pub program: Program,
    /// What matrices are made of.
    pub dtype: Dtype,
    /// The group that is written.
    pub group: usize,
}

impl Writer {
    /// A program with an embedding of `width` values, and with nothing in its layers and its head. The first
    /// layer comes next.
    pub fn new(dtype: Dtype, width: usize, vocabulary: usize, layers: usize) -> Writer {
        let mut writer = Writer { program: Program::empty(width, vocabulary, layers), dtype, group: 0 };
        let table = writer.program.add_weight(0, dtype, [vocabulary, width], true);
        writer.op(Op::Embed { table, dst: RESIDUAL, scale: 1.0 });
        writer.group = 1;
        writer
    }

    /// Scales the rows of the embedding, which are around a tenth where they are random.
    pub fn scaled(mut self, by: f32) -> Writer {
        if let Op::Embed { scale, .. } = &mut self.program.ops[0][0] {
            *scale = by;
        }
        self
    }

    pub fn op(&mut self, op: Op) {
        self.program.ops[self.group].push(op);
    }

    pub fn slot(&mut self, width: usize) -> Slot {
        self.program.push_slot(width)
    }

    pub fn width(&self, slot: Slot) -> usize {
        self.program[slot]
    }

    /// A norm's weights, a bias, or whatever else is an F32 value for each of so many.
    pub fn vector(&mut self, width: usize) -> WeightId {
        self.program.add_weight(self.group, Dtype::F32, [1, width], false)
    }

    /// A norm of each `width` values of `src`, into `dst`.
    pub fn norm_over(&mut self, width: usize, src: Slot, dst: Slot) {
        let weight = self.vector(width);
        self.op(Op::Norm { kind: Norm::Rms, src, weight: Some(weight), bias: None, dst, width, epsilon: 1e-5 });
    }

    pub fn norm(&mut self, src: Slot, dst: Slot) {
        self.norm_over(self.width(src), src, dst);
    }

    /// A matrix that makes `dst` of `src`.
    pub fn matrix(&mut self, src: Slot, dst: Slot) -> RowView {
        let (rows, columns) = (self.width(dst), self.width(src));
        RowView { weight: self.program.add_weight(self.group, self.dtype, [rows, columns], true), first_row: 0, rows }
    }

    /// A product, which joins the residual stream if it goes there.
    pub fn multiply(&mut self, src: Slot, dst: Slot) {
        self.multiply_with(src, dst, Epilogue { accumulate: dst == RESIDUAL, ..Epilogue::default() });
    }

    pub fn multiply_with(&mut self, src: Slot, dst: Slot, epilogue: Epilogue) {
        let view = self.matrix(src, dst);
        self.op(Op::MatMul { view, src, dst, epilogue });
    }

    /// A product into a slot of its own.
    pub fn project(&mut self, src: Slot, width: usize) -> Slot {
        let dst = self.slot(width);
        self.multiply(src, dst);
        dst
    }

    /// A layer's cache, with slots for queries, keys, values, and what comes of them.
    pub fn heads(&mut self, shape: Heads) -> (StateId, [Slot; 4]) {
        let Heads { heads, kv_heads, head_dim, value_dim, .. } = shape;
        let state = State::Kv(Kv::new(kv_heads, head_dim, value_dim));
        let widths = [heads * head_dim, kv_heads * head_dim, kv_heads * value_dim, heads * value_dim];
        (self.program.push_state(state), widths.map(|width| self.slot(width)))
    }

    /// The write to the cache, and attention over it.
    pub fn attend(&mut self, shape: Heads, state: StateId, slots: [Slot; 4], scale: f32) {
        let [_, key, value, _] = slots;
        self.op(Op::KvWrite { state, key, value, head_dim: shape.head_dim });
        self.attend_to(shape, state, slots, scale);
    }

    /// Attention over what the cache has.
    pub fn attend_to(&mut self, shape: Heads, state: StateId, slots: [Slot; 4], scale: f32) {
        let Heads { heads, kv_heads, head_dim, window, softcap, .. } = shape;
        let [query, _, _, dst] = slots;
        let mask = window.map_or(Mask::Causal, Mask::Window);
        self.op(Op::Attention {
            state,
            query,
            dst,
            heads,
            kv_heads,
            head_dim,
            scale,
            mask,
            softcap,
            sinks: None,
            alibi: None,
        });
    }

    /// Norm and logits: the whole program.
    pub fn head(mut self) -> Program {
        self.group = self.program.groups.len() - 1;
        let normed = self.slot(self.program.slots[0]);
        self.norm(RESIDUAL, normed);
        self.program.outputs.hidden = normed;
        self.program.outputs.logits = self.project(normed, self.program.vocabulary);
        self.program
    }
}

/// A rotation as Llama has it.
pub fn rope(dims: usize, style: RopeStyle) -> Rope {
    Rope {
        dims,
        style,
        base: 10_000.0,
        frequency_scale: 1.0,
        extrapolation: 0.0,
        attention_factor: 1.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_context: 2048.0,
        factors: None,
    }
}
