//! Dispatches: what each kernel is told, and how many workgroups of it there are.

use super::arena::{partial_stride, segments};
use super::depth::{Cut, Head};
use super::{Cache, Condition, Depth, Dispatch, ExpertForm, Experts, NONE, Planner, Product, TILE_TOKENS};
use crate::error::Result;
use crate::gpu::device::unsuited;
use crate::gpu::kernels::{
    self, Candidates, Embed, JOBS_MAX, Job, MATVEC_THREADS, MatrixProduct, Parameters, Planes, Prepare, job_flags,
    rope_flags, tile_rows,
};
use crate::gpu::shaders::Kernel;
use crate::gpu::weights::{Slab, chunks};
use crate::program::*;

impl Planner<'_> {
    pub(super) fn push(&mut self, kernel: Kernel, params: impl Parameters, blocks: u32, depth: Depth) -> &mut Dispatch {
        self.dispatches.push(Dispatch {
            kernel,
            ops: 0..0,
            params: params.words(),
            weights: (self.group, 0),
            cache: Cache::Prepared,
            blocks,
            splits: false,
            depth,
            condition: Condition::Always,
            adapter: None,
        });
        self.dispatches.last_mut().expect("it was just pushed")
    }

    pub(super) fn base(&self, slot: Slot) -> u32 {
        self.arena.slots[slot.0 as usize]
    }

    pub(super) fn stride(&self, slot: Slot) -> u32 {
        self.arena.strides[slot.0 as usize]
    }

    /// Quads of a row's values.
    pub(super) fn quads(&self, slot: Slot) -> u32 {
        self.program[slot].div_ceil(4) as u32
    }

    /// Where the group tells of values that are not finite.
    pub(super) fn flag(&self) -> u32 {
        self.arena.flags + self.group as u32
    }

    pub(super) fn vector(&self, id: Option<WeightId>) -> u32 {
        id.map_or(NONE, |id| self.map.vector(id))
    }

    pub(super) fn style(&self, rope: RopeId) -> u32 {
        if self.program[rope].style == RopeStyle::Interleaved { rope_flags::INTERLEAVED } else { 0 }
    }

    pub(super) fn kernel_of(&self, product: &Product) -> Kernel {
        Kernel::MatVec(self.program[product.view.weight].dtype)
    }

    /// A product for each slab that has rows of the view.
    pub(super) fn products(&self, view: RowView, dst: Slot, epilogue: Epilogue) -> Vec<Product> {
        let slabs = self.map.slabs(view.weight).iter().cloned();
        let whole = view.first_row..view.first_row + view.rows;
        slabs
            .filter(|s| s.first_row < whole.end && whole.start < s.first_row + s.rows)
            .map(|slab| {
                let first = slab.first_row.max(whole.start);
                let rows = whole.end.min(slab.first_row + slab.rows) - first;
                Product { slab, view: RowView { weight: view.weight, first_row: first, rows }, dst, epilogue }
            })
            .collect()
    }

    /// All experts of a view; they must lie in one slab.
    pub(super) fn expert_product(&self, view: RowView, dst: Slot, scale: Option<WeightId>) -> Result<Product> {
        match self.map.slabs(view.weight) {
            [slab] => {
                Ok(Product { slab: slab.clone(), view, dst, epilogue: Epilogue { scale, ..Epilogue::default() } })
            }
            _ => Err(unsuited("experts that do not fit one buffer are not supported")),
        }
    }

    /// Rows of a table. Those that are not of the tokens are added.
    pub(super) fn embed(&mut self, table: WeightId, dst: Slot, scale: f32, which: Rows) {
        let weight = &self.program[table];
        for slab in self.map.slabs(table).to_vec() {
            let params = Embed {
                planes: planes(&slab),
                first_row: slab.first_row as u32,
                rows: slab.rows as u32,
                chunks: chunks(weight) as u32,
                scale,
                tokens: if which == Rows::OfTokens { self.arena.tokens } else { NONE },
                row: if let Rows::One(row) = which { row as u32 } else { NONE },
                dst: self.base(dst),
                dst_stride: self.stride(dst),
                dst_residual: residual(dst),
                flag: self.flag(),
            };
            let blocks = chunks(weight).div_ceil(64) as u32;
            let group = weight.group;
            self.push(Kernel::Embed(weight.dtype), params, blocks, Depth::Tokens(1)).weights = (group, slab.buffer);
        }
    }

    /// A norm, into its destination or, to be added, into another.
    pub(super) fn norm(&mut self, op: &Op, added_to: Option<Slot>) {
        let Op::Norm { kind, src, weight, bias, dst, width, epsilon } = *op else { return };
        let dst = added_to.unwrap_or(dst);
        // Each run of a row has weights of its own, or all have the same.
        let is_whole = weight.or(bias).is_some_and(|id| self.program[id].columns > width);
        let params = kernels::Norm {
            src: self.base(src),
            src_stride: self.stride(src),
            src_residual: residual(src),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            dst_residual: residual(dst),
            width: width as u32,
            weights: self.vector(weight),
            epsilon,
            add: added_to.is_some().into(),
            flag: self.flag(),
            is_centred: match kind {
                Norm::Rms => 0,
                Norm::Layer => 1,
                Norm::Excess => 2,
            },
            bias: self.vector(bias),
            step: if is_whole { width as u32 } else { 0 },
        };
        let runs = self.program[src] / width;
        let group = weight.or(bias).map_or(self.group, |id| self.program[id].group);
        self.push(Kernel::Norm, params, runs as u32, Depth::Tokens(1)).weights = (group, 0);
    }

    /// Products of one input, in one dispatch where there is one token or few of them, and tiled where there
    /// are many.
    pub(super) fn multiply(
        &mut self,
        products: &[Product],
        src: Slot,
        experts: Option<Experts>,
        gate: u32,
    ) -> Result<()> {
        if products.iter().any(|p| !(p.view.first_row - self.first_row_of(p)).is_multiple_of(4)) {
            return Err(unsuited("a slab that begins within a quad of a fused tensor's part is not supported"));
        }
        let norm = self.virtual_norms.get(&src).copied();
        let from = norm.map_or(src, |n| n.src);
        let weight = &self.program[products[0].view.weight];
        let chunks = chunks(weight);
        let lanes = lanes(chunks);
        let mut job = [Job::ABSENT; JOBS_MAX];
        job.iter_mut().zip(products).for_each(|(job, product)| *job = self.job(product));
        let params = MatrixProduct {
            src: self.base(from),
            src_stride: self.stride(from),
            src_residual: residual(from),
            chunks: chunks as u32,
            width: weight.columns as u32,
            norm: self.vector(norm.map(|n| n.weight)),
            epsilon: norm.map_or(0.0, |n| n.epsilon),
            jobs: products.len() as u32,
            gate,
            choice: experts.map_or(NONE, |e| self.base(e.choice)),
            choice_stride: experts.map_or(0, |e| self.stride(e.choice)),
            used: experts.map_or(1, |e| e.used as u32),
            form: experts.map_or(0, |e| e.form as u32),
            flag: if destination_is_checked(self.program, products[0].dst) { self.flag() } else { NONE },
            first_block: 0,
            lanes,
            job,
        };
        let rows = products[0].view.rows;
        let all_rows: usize = products.iter().map(|p| p.view.rows.div_ceil(4) * 4).sum();
        let weights = (weight.group, products[0].slab.buffer);
        let dtype = weight.dtype;
        let apart = experts.filter(|e| e.form != ExpertForm::Summed);
        let depth = Depth::Tokens(apart.map_or(1, |e| e.used as u32));
        let blocks = if gate == 0 { all_rows / 4 } else { rows.div_ceil(4) };
        let has_tiles = !self.is_single && experts.is_none();
        let most =
            self.products_max / (chunks * 32 * if has_tiles { TILE_TOKENS } else { self.batch_of(experts) }).max(1);
        let mut dispatches: Vec<(Kernel, u32, u32, Depth, Condition)> = Vec::new();
        let condition = if has_tiles { Condition::Few } else { Condition::Always };
        // Whole workgroups, each of which has this many blocks.
        let blocks_of_group = (MATVEC_THREADS / lanes) as usize;
        let step = (most / 4 / blocks_of_group).max(1) * blocks_of_group;
        for first in (0..blocks).step_by(step) {
            let count = step.min(blocks - first).div_ceil(blocks_of_group) as u32;
            dispatches.push((Kernel::MatVec(dtype), first as u32, count, depth, condition));
        }
        if has_tiles {
            let step = (self.products_max / (chunks * 32 * self.batch) / 64).max(1);
            let blocks = rows.div_ceil(64);
            let depth = Depth::Tiles { rows: 64, of_token: 1 };
            for first in (0..blocks).step_by(step) {
                let count = step.min(blocks - first) as u32;
                dispatches.push((Kernel::MatMat(dtype), first as u32, count, depth, Condition::Many));
            }
        }
        if has_tiles && weight.dtype.block_values() > 1 {
            self.prepare(from, chunks);
        }
        for (kernel, first_block, blocks, depth, condition) in dispatches {
            let dispatch = self.push(kernel, MatrixProduct { first_block, ..params }, blocks, depth);
            (dispatch.weights, dispatch.condition) = (weights, condition);
        }
        Ok(())
    }

    /// Activations for tiles, unless they are there.
    fn prepare(&mut self, src: Slot, chunks: usize) {
        if self.prepared.replace(src) == Some(src) {
            return;
        }
        let params = Prepare {
            src: self.base(src),
            src_stride: self.stride(src),
            src_residual: residual(src),
            chunks: chunks as u32,
        };
        let depth = Depth::Tiles { rows: 4, of_token: 1 };
        self.push(Kernel::Prepare, params, chunks.div_ceil(64) as u32, depth).condition = Condition::Prepared;
    }

    /// Rows of a batch that a matrix·vector goes through at most.
    pub(super) fn batch_of(&self, experts: Option<Experts>) -> usize {
        if self.is_single { 1 } else { self.batch * experts.map_or(1, |e| e.used) }
    }

    pub(super) fn job(&self, product: &Product) -> Job {
        let Product { slab, view, dst, epilogue } = product;
        // A slab's rows go where they belong in the whole result.
        let offset = view.first_row - self.first_row_of(product);
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        Job {
            planes: planes(slab),
            first_row: (view.first_row - slab.first_row) as u32,
            rows: view.rows as u32,
            bias: epilogue.bias.map_or(NONE, |bias| self.map.vector(bias) + view.first_row as u32),
            scale: self.vector(epilogue.scale),
            dst: self.base(*dst) + offset as u32 / 4,
            dst_stride: self.stride(*dst),
            flags: flag(epilogue.bias_first, job_flags::BIAS_FIRST)
                | flag(epilogue.accumulate, job_flags::ACCUMULATES)
                | residual(*dst) << job_flags::RESIDUAL_SHIFT,
            pad: 0,
        }
    }

    /// The first row of the view that a product is a part of.
    pub(super) fn first_row_of(&self, product: &Product) -> usize {
        let ops = self.program.ops[self.group].iter();
        let views = ops.filter(|op| op.destination() == Some(product.dst)).filter_map(|op| op.matrix());
        let row = product.view.first_row;
        let mut views = views.filter(|v| v.weight == product.view.weight);
        views.find(|v| (v.first_row..v.first_row + v.rows).contains(&row)).map_or(row, |v| v.first_row)
    }

    /// The shape of keys and values.
    fn kv(&self, state: StateId) -> Kv {
        match self.program[state] {
            State::Kv(kv) => kv,
            State::Conv { .. } | State::Recurrent { .. } => unreachable!("attention is over keys and values"),
        }
    }

    /// The word of a cache at which the values begin.
    fn values_word(&self, state: StateId) -> u32 {
        let kv = self.kv(state);
        (kv.heads * kv.key_bytes() * self.context / 4) as u32
    }

    pub(super) fn rope(&mut self, operands: RopeOperands) {
        let base = |slot: Option<Slot>| slot.map_or(0, |s| self.base(s));
        let stride = |slot: Option<Slot>| slot.map_or(0, |s| self.stride(s));
        let (query, heads) = operands.query.map_or((None, 0), |(slot, heads)| (Some(slot), heads));
        let (key, value) = operands.cache.map_or((None, None), |(_, key, value)| (Some(key), Some(value)));
        let state = operands.cache.map(|(state, ..)| state);
        let width = |slot: Option<Slot>| slot.map_or(0, |s| self.program[s]);
        let kv_heads = width(key) / operands.head_dim;
        let value_dim = width(value).checked_div(kv_heads).unwrap_or(0);
        let params = kernels::Rope {
            query: base(query),
            query_stride: stride(query),
            key: base(key),
            key_stride: stride(key),
            value: base(value),
            value_stride: stride(value),
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: operands.head_dim as u32,
            value_dim: value_dim as u32,
            query_norm: operands.query_norm,
            key_norm: operands.key_norm,
            epsilon: operands.epsilon,
            pairs: operands.rope.map_or(0, |r| self.program[r].dims as u32 / 2),
            table: operands.rope.map_or(0, |r| self.arena.tables[r.0 as usize]),
            flags: operands.flags,
            context: self.context as u32,
            values: state.map_or(0, |state| self.values_word(state)),
        };
        let format = state.map_or(KvFormat::F16, |state| self.kv(state).format);
        let rope = self.push(Kernel::Rope(format), params, (heads + 2 * kv_heads) as u32, Depth::Tokens(1));
        rope.cache = state.map_or(rope.cache, Cache::State);
    }

    pub(super) fn attention(&mut self, op: &Op) {
        let Op::Attention { state, query, dst, heads, kv_heads, head_dim, scale, mask, softcap, sinks, alibi } = *op
        else {
            return;
        };
        // Positions before its own, with it, that a token sees; those of a chunk; and those after its own.
        let (window, chunk, ahead) = match mask {
            Mask::Causal => (None, 0, 0),
            Mask::Window(tokens) => (Some(tokens), 0, 0),
            Mask::Chunked(tokens) => (None, tokens, 0),
            Mask::Full => (None, 0, self.context),
            Mask::Around(tokens) => (Some(tokens + 1), 0, tokens),
        };
        let Kv { value_dim, format, .. } = self.kv(state);
        let rows = tile_rows(head_dim, value_dim);
        let params = kernels::Attention {
            query: self.base(query),
            query_stride: self.stride(query),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            partials: self.arena.partials,
            partial_stride: partial_stride(value_dim) as u32,
            heads: heads as u32,
            group: (heads / kv_heads) as u32,
            head_dim: head_dim as u32,
            value_dim: value_dim as u32,
            scale,
            window: window.unwrap_or(0) as u32,
            softcap: softcap.unwrap_or(0.0),
            context: self.context as u32,
            values: self.values_word(state),
            rows,
            first: 0,
            first_head: 0,
            chunk: chunk as u32,
            ahead: ahead.min(self.context) as u32,
            sinks: self.vector(sinks),
            alibi: alibi.unwrap_or(0.0),
        };
        if self.is_single {
            let attend = self.push(Kernel::Attention(format), params, heads as u32, Depth::Tokens(1));
            (attend.cache, attend.splits) = (Cache::State(state), true);
            let reduce = self.push(Kernel::AttentionReduce, params, heads as u32, Depth::Tokens(1));
            reduce.condition = Condition::Split;
            return;
        }
        let seen = window.map_or(self.context, |window| self.context.min(window + ahead + rows as usize));
        let (products, most) = (head_dim + value_dim, self.products_max);
        let query = Head { rows: 1, of_token: 1, products, seen };
        let key = Head { rows, of_token: (heads / kv_heads) as u32, products, seen };
        let few = Cut::all(TILE_TOKENS.min(self.batch), heads, query, most).into_iter();
        let few = few.map(|cut| (Kernel::Attention(format), cut, Condition::Few));
        let many = Cut::all(self.batch, kv_heads, key, most).into_iter();
        let many = many.map(|cut| (Kernel::AttentionTiles(format), cut, Condition::Many));
        for (kernel, (heads, cut), condition) in few.chain(many) {
            let params = kernels::Attention { first: cut.first, first_head: heads.start as u32, ..params };
            let attend = self.push(kernel, params, heads.len() as u32, Depth::Cut(cut));
            (attend.cache, attend.condition) = (Cache::State(state), condition);
        }
    }

    pub(super) fn sample(&mut self) {
        let program = self.program;
        let count = program[program.outputs.logits];
        let (segments, segment) = segments(count);
        let params = Candidates {
            logits: self.base(program.outputs.logits),
            count: count as u32,
            result: self.arena.result,
            flags: self.arena.flags,
            groups: program.groups.len() as u32,
            candidates: self.arena.candidates,
            segments: segments as u32,
            segment: segment as u32,
        };
        self.push(Kernel::Top, params, segments as u32, Depth::One);
        self.push(Kernel::Sample, params, 1, Depth::One);
    }
}

/// Which rows of a table are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Those of the tokens.
    OfTokens,
    /// Those of their positions.
    OfPositions,
    /// The same for all.
    One(usize),
}

/// What a dispatch of the rope kernel does.
pub(super) struct RopeOperands {
    pub(super) query: Option<(Slot, usize)>,
    /// Keys and values, and where they are kept.
    pub(super) cache: Option<(StateId, Slot, Slot)>,
    pub(super) head_dim: usize,
    pub(super) rope: Option<RopeId>,
    pub(super) query_norm: u32,
    pub(super) key_norm: u32,
    pub(super) epsilon: f32,
    pub(super) flags: u32,
}

impl Default for RopeOperands {
    fn default() -> Self {
        RopeOperands {
            query: None,
            cache: None,
            head_dim: 1,
            rope: None,
            query_norm: NONE,
            key_norm: NONE,
            epsilon: 0.0,
            flags: 0,
        }
    }
}

/// Invocations of matrix·vector that share four rows of so many chunks.
fn lanes(chunks: usize) -> u32 {
    (chunks.next_power_of_two() as u32).clamp(8, 64)
}

/// The words at which a slab's planes begin.
fn planes(slab: &Slab) -> Planes {
    slab.planes.map(|bytes| (bytes / 4) as u32)
}

/// 1 for the residual stream, whose rows are the sequence's and not the batch's.
pub(super) fn residual(slot: Slot) -> u32 {
    u32::from(slot == RESIDUAL)
}

/// Whether products into a slot are looked at for values that are not finite.
fn destination_is_checked(program: &Program, slot: Slot) -> bool {
    slot == RESIDUAL || slot == program.outputs.logits
}
