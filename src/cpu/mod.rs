//! The CPU backend: scalar truth for every op, and its SIMD128 twins.
//!
//! [`Cpu`] holds the activations, the cache and the weights that are in memory, and computes one op over a batch.
//! Ops are free functions over slices in a file each; all branching is in [`Cpu::step`]. `exec` walks through a
//! program's ops, and [`team`] divides them among threads.

mod activation;
mod attention;
mod conv;
mod delta;
mod disk;
mod exec;
mod expert_cache;
mod experts;
mod fixed;
mod kv;
mod lanes;
mod memory;
mod norm;
mod recurrent;
mod route;
mod scan;
#[cfg(feature = "selftest")]
pub mod selftest;
mod sizes;
pub mod team;
mod weights;
mod wkv;

use crate::error::Result;
use crate::exec::Batch;
use crate::program::*;
use crate::rope::Rotation;
use attention::Attention;
pub use chord_kernels::{matmul, vector};
use matmul::{Activations, Input};
use std::ops::Range;

use lanes::Lane;

pub use disk::{DISK_STAGE_BYTES, DiskReader, READ_BYTES};
pub use exec::{Groups, Move, Order, Peers, Shard};
pub use expert_cache::{ExpertCounters, expert_bytes, expert_cache_bytes};
use experts::Chosen;
use fixed::Fixed;
pub use kv::KvCache;
pub use lanes::Fork;
use sizes::{columns_max, experts_max, group_max, slot_rows};
pub use weights::{Weights, held_bytes};

/// Tokens that run through a group at once during prefill.
pub const BATCH_MAX: usize = 64;
/// Bytes of weights after which a step of a single token ends. From a slow disk they take two or three
/// seconds: a step that lasts much longer could not be told from one that never ends.
pub const STEP_BYTES_MAX: u64 = 256 << 20;

/// The state of a model on the CPU.
pub struct Cpu {
    /// The groups that are in memory, and where the others are read from.
    pub weights: Weights,
    slots: Vec<Vec<f32>>,
    /// Room for each sequence, and which of them is selected.
    lanes: Vec<Lane>,
    lane: usize,
    context: usize,
    rotations: Vec<Rotation>,
    activations: Activations,
    /// The slot whose quantised copy `activations` holds.
    quantised: Option<Slot>,
    scratch: attention::Scratch,
    /// A product, or a row of a table, on its way into the slot that it is added to.
    product: Vec<f32>,
    /// Rows of matrices that stay on disk.
    stage: disk::Stage,
    /// Tokens of a batch by the experts that they chose.
    chosen: Chosen,
    /// How much of each adapter there is in what is computed.
    scales: Vec<f32>,
}

impl Cpu {
    /// Bytes that activations, scratch and a prompt of the whole context need, beside weights and cache.
    pub fn scratch_bytes(program: &Program, context: usize) -> u64 {
        let batch = BATCH_MAX.min(context);
        let slots: u64 =
            program.slots.iter().enumerate().skip(1).map(|(i, w)| (*w * slot_rows(program, i, batch)) as u64 * 4).sum();
        let residual = program.slots[0] as u64 * context as u64 * 4;
        let group = group_max(program);
        let scores = attention::Scratch::bytes(group, context, batch);
        let product = program.slots[0] as u64 * batch as u64 * 4;
        slots
            + Fixed::copies_bytes(program)
            + residual
            + scores
            + product
            + Activations::bytes(columns_max(program), batch * experts_max(program)) as u64
            + Chosen::bytes(program, batch)
    }

    /// Allocates everything but weights and the residual stream, for sequences of up to `context` tokens, and keys and
    /// values of the first of them.
    pub fn new(program: &Program, context: usize) -> Result<Cpu> {
        Cpu::with_batch(program, context, BATCH_MAX.min(context))
    }

    /// The same for batches of up to `batch` tokens.
    pub fn with_batch(program: &Program, context: usize, batch: usize) -> Result<Cpu> {
        let slot = |(i, width): (usize, &usize)| match i {
            0 => Ok(Vec::new()),
            _ => memory::zeroed(width.saturating_mul(slot_rows(program, i, batch))),
        };
        let group = group_max(program);
        Ok(Cpu {
            weights: Weights::new(program),
            slots: program.slots.iter().enumerate().map(slot).collect::<Result<_>>()?,
            lanes: vec![Lane::new(program, context)?],
            lane: 0,
            context,
            rotations: program.ropes.iter().map(|_| Rotation::default()).collect(),
            activations: Activations::new(columns_max(program), batch * experts_max(program)),
            quantised: None,
            scratch: attention::Scratch::new(group, context, batch)?,
            product: memory::zeroed(program.slots[0] * batch)?,
            stage: disk::Stage::default(),
            chosen: Chosen::new(program, batch)?,
            scales: vec![1.0; program.adapters],
        })
    }

    /// Makes room in the residual stream for `tokens` rows, and for so many positions of the selected lane's keys and
    /// values. Both grow to the longest sequence and stay.
    pub fn reserve(&mut self, program: &Program, tokens: usize, positions: usize) -> Result<()> {
        self.cache_mut().reserve(positions)?;
        let values = tokens.saturating_mul(program.slots[0]);
        if self.slots[0].len() < values {
            self.slots[0] = Vec::new();
            self.slots[0] = memory::zeroed(values)?;
        }
        Ok(())
    }

    /// The logits of some of the tokens that went through the head last.
    pub fn logits(&self, program: &Program, tokens: Range<usize>) -> &[f32] {
        let Outputs { logits, .. } = program.outputs;
        &self.slots[logits.0 as usize][tokens.start * program[logits]..tokens.end * program[logits]]
    }

    /// Those of one, for the sampler to work in.
    pub fn logits_mut(&mut self, program: &Program, token: usize) -> &mut [f32] {
        let width = program[program.outputs.logits];
        &mut self.slots[program.outputs.logits.0 as usize][token * width..][..width]
    }

    /// Puts values in place of a row of the residual stream.
    pub fn set_residual(&mut self, row: usize, values: &[f32]) {
        self.slots[0][row * values.len()..][..values.len()].copy_from_slice(values);
    }

    /// A row of the residual stream.
    pub fn residual(&self, program: &Program, row: usize) -> &[f32] {
        let width = program.slots[0];
        &self.slots[0][row * width..][..width]
    }

    /// The head's normalised input for these rows, which ran through the head last: `[row][width]`.
    pub fn hidden(&self, program: &Program, rows: Range<usize>) -> &[f32] {
        let slot = program.outputs.hidden;
        let width = program[slot];
        let first = if slot == RESIDUAL { rows.start } else { 0 };
        &self.slots[slot.0 as usize][first * width..][..rows.len() * width]
    }

    /// Runs one op over one batch. The destination is taken out of its slot while it is written.
    pub fn step(&mut self, program: &Program, op: &Op, batch: &Batch) {
        let dst = op.destination();
        let mut taken = dst.map_or(Vec::new(), |slot| std::mem::take(&mut self.slots[slot.0 as usize]));
        let out = match dst {
            Some(slot) => &mut taken[span(program, slot, batch)],
            None => &mut [],
        };
        match *op {
            Op::Embed { table, scale, dst } => {
                for (row, token) in out.chunks_exact_mut(program[dst]).zip(batch.tokens) {
                    self.weights.row(program, table, *token as usize, &mut self.stage, row);
                    if scale != 1.0 {
                        vector::scale(row, scale);
                    }
                }
            }
            Op::EmbedPosition { table, .. } => {
                let embedding = &mut self.product[..program.slots[0]];
                let positions = batch.spans().flat_map(|part| part.positions.take(part.tokens.len()));
                for (row, position) in out.chunks_exact_mut(program.slots[0]).zip(positions) {
                    self.weights.row(program, table, position, &mut self.stage, embedding);
                    vector::add(row, embedding);
                }
            }
            Op::EmbedRow { table, row, .. } => {
                let embedding = &mut self.product[..program.slots[0]];
                self.weights.row(program, table, row, &mut self.stage, embedding);
                out.chunks_exact_mut(program.slots[0]).for_each(|row| vector::add(row, embedding));
            }
            Op::Norm { kind, src, weight, bias, dst, width, epsilon } => {
                let vector = |id: Option<WeightId>| id.map(|id| self.weights.vector(program, id));
                let norm = norm::Normalise { kind, weight: vector(weight), bias: vector(bias), width, epsilon };
                match src == dst {
                    true => norm.in_place(out),
                    false => norm.run(self.values(program, src, batch), out),
                }
            }
            Op::MatMul { view, src, epilogue, .. } => self.matmul(program, view, src, epilogue, batch, out),
            Op::Rope { heads, head_dim, rope, .. } => {
                let description = &program[rope];
                let factors = description.factors.map(|f| self.weights.vector_ahead(program, f));
                let rotation = &mut self.rotations[rope.0 as usize];
                let positions = batch.spans().flat_map(|part| part.positions.take(part.tokens.len()));
                rotation.prepare(description, factors, positions);
                rotation.rotate(description, out, heads, head_dim);
            }
            Op::KvWrite { state, key, value, .. } => {
                let key = &self.slots[key.0 as usize][span(program, key, batch)];
                let value = &self.slots[value.0 as usize][span(program, value, batch)];
                let [key_width, value_width] = [key, value].map(|values| values.len() / batch.tokens.len());
                for part in batch.spans() {
                    let (key, value) = (&key[part.of(key_width)], &value[part.of(value_width)]);
                    let lane = &mut self.lanes[part.lane];
                    lane.cache.write(state, part.first + part.positions.start, key, value);
                }
            }
            Op::Attention { state, query, heads, kv_heads, head_dim, scale, mask, softcap, sinks, alibi, .. } => {
                let value_dim = program[state].kv_widths().1 / kv_heads;
                let sinks = sinks.map(|id| self.weights.vector(program, id));
                let a = Attention {
                    state,
                    first: 0,
                    heads,
                    kv_heads,
                    head_dim,
                    value_dim,
                    scale,
                    mask,
                    softcap,
                    sinks,
                    alibi,
                };
                let query = &self.slots[query.0 as usize][span(program, query, batch)];
                for part in batch.spans() {
                    let (a, cache) = (Attention { first: part.first, ..a }, &self.lanes[part.lane].cache);
                    let (query, out) = (&query[part.of(heads * head_dim)], &mut out[part.of(heads * value_dim)]);
                    attention::attend(&a, cache, query, out, part.positions, &mut self.scratch);
                }
            }
            Op::Gate { up, activation, .. } => activation::gate(activation, out, self.values(program, up, batch)),
            Op::Activate { activation, .. } => activation::activate(activation, out),
            Op::Scale { factor, .. } => vector::scale(out, factor),
            Op::Adapt { adapter, factor, .. } => vector::scale(out, factor * self.scales[adapter.0 as usize]),
            Op::Weigh { weight, .. } => match *self.weights.vector(program, weight) {
                [factor] => vector::scale(out, factor),
                ref weight => out.chunks_exact_mut(weight.len()).for_each(|row| vector::multiply(row, weight)),
            },
            Op::Clamp { limit, .. } => out.iter_mut().for_each(|v| *v = v.clamp(-limit, limit)),
            Op::Add { src, .. } => vector::add(out, self.values(program, src, batch)),
            Op::Softcap { cap, .. } => out.iter_mut().for_each(|v| *v = cap * (*v / cap).tanh()),
            Op::Route { logits, used, routing, .. } => {
                let experts = program[logits];
                let bias = routing.bias.map(|id| self.weights.vector(program, id));
                let logits = &mut self.slots[logits.0 as usize][span(program, logits, batch)];
                for (logits, choice) in logits.chunks_exact_mut(experts).zip(out.chunks_exact_mut(2 * used)) {
                    route::route(logits, choice, used, &routing, bias);
                }
            }
            Op::ExpertMatMul { .. } => self.expert_matmul(program, op, batch, out),
            Op::ExpertSum { src, choice, used, .. } => {
                let (src, choice) = (self.values(program, src, batch), self.values(program, choice, batch));
                route::sum(src, choice, used, batch.rows.len(), out);
            }
            Op::Copy { src, dst, run, count, from, to } => {
                let rows = self.values(program, src, batch).chunks_exact(program[src]);
                for (src, dst) in rows.zip(out.chunks_exact_mut(program[dst])) {
                    for n in 0..count {
                        dst[to.at(n)..][..run].copy_from_slice(&src[from.at(n)..][..run]);
                    }
                }
            }
            Op::ShortConv { state, slot, kernel, bias } => {
                let [kernel, bias] = [kernel, bias].map(|id| id.map(|id| self.weights.vector(program, id)));
                for part in batch.spans() {
                    let lane = &mut self.lanes[part.lane];
                    let (state, _) = lane.fixed.of(state, part.positions.start);
                    conv::short_conv(&mut out[part.of(program[slot])], program[slot], kernel, bias, state);
                }
            }
            Op::Scan { .. } => self.scan(program, op, batch, out),
            Op::DeltaRule { .. } => self.delta_rule(program, op, batch, out),
            Op::Wkv { .. } => self.wkv(program, op, batch, out),
            Op::Echo { query, key, value, heads, .. } => {
                let [query_values, key_values, values] =
                    [query, key, value].map(|slot| self.values(program, slot, batch));
                wkv::echo(query_values, key_values, values, program[key] / heads, program[value] / heads, out);
            }
        }
        if let Some(slot) = dst {
            self.slots[slot.0 as usize] = taken;
            // The slot has new values: its quantised copy is stale.
            self.quantised.take_if(|held| *held == slot);
        }
    }

    /// A slot's values for the batch: `[token][width]`.
    pub fn values(&self, program: &Program, slot: Slot, batch: &Batch) -> &[f32] {
        &self.slots[slot.0 as usize][span(program, slot, batch)]
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self, program: &Program, slot: Slot, batch: &Batch) -> &mut [f32] {
        self.quantised.take_if(|held| *held == slot);
        &mut self.slots[slot.0 as usize][span(program, slot, batch)]
    }

    /// Quantises a slot for the matrices that want it, unless the copy is fresh.
    fn quantise(&mut self, program: &Program, slot: Slot, columns: usize, batch: &Batch) {
        if self.quantised != Some(slot) {
            let range = span(program, slot, batch);
            let values = &self.slots[slot.0 as usize][range];
            self.activations.quantise(values, columns, values.len() / columns);
            self.quantised = Some(slot);
        }
    }

    /// out = or += (W·src)·scale + bias.
    fn matmul(
        &mut self,
        program: &Program,
        view: RowView,
        src: Slot,
        epilogue: Epilogue,
        batch: &Batch,
        out: &mut [f32],
    ) {
        let &Weight { columns, dtype, .. } = &program[view.weight];
        if matmul::wants_quantised(dtype) {
            self.quantise(program, src, columns, batch);
        }
        let (mut product, mut stage) = (std::mem::take(&mut self.product), std::mem::take(&mut self.stage));
        let input = self.input(program, view, src, batch);
        let tokens = 0..batch.rows.len();
        if epilogue == (Epilogue { accumulate: true, ..Epilogue::default() }) {
            self.weights.multiply(program, view, input, tokens, out, true, &mut stage);
        } else if !epilogue.accumulate {
            self.weights.multiply(program, view, input, tokens, out, false, &mut stage);
            self.scale_and_bias(program, epilogue, view, out);
        } else {
            // What joins the destination is finished aside first.
            let result = &mut product[..out.len()];
            self.weights.multiply(program, view, input, tokens, result, false, &mut stage);
            self.scale_and_bias(program, epilogue, view, result);
            vector::add(out, result);
        }
        (self.product, self.stage) = (product, stage);
    }

    /// A slot as the right side of products with a matrix: its quantised copy where the matrix wants that.
    fn input(&self, program: &Program, view: RowView, src: Slot, batch: &Batch) -> Input<'_> {
        match matmul::wants_quantised(program[view.weight].dtype) {
            true => Input::Quantised(&self.activations),
            false => Input::F32(self.values(program, src, batch)),
        }
    }

    /// The rest of an epilogue, in its order.
    fn scale_and_bias(&self, program: &Program, epilogue: Epilogue, view: RowView, values: &mut [f32]) {
        let scale = |values: &mut [f32]| {
            if let Some(scale) = epilogue.scale {
                vector::scale(values, self.weights.vector(program, scale)[0]);
            }
        };
        if !epilogue.bias_first {
            scale(values);
        }
        if let Some(bias) = epilogue.bias {
            let bias = &self.weights.vector(program, bias)[view.first_row..][..view.rows];
            values.chunks_exact_mut(view.rows).for_each(|row| vector::add(row, bias));
        }
        if epilogue.bias_first {
            scale(values);
        }
    }
}

/// Where a batch's values lie in a slot: the residual stream is indexed by row, the others start at 0.
fn span(program: &Program, slot: Slot, batch: &Batch) -> Range<usize> {
    let width = program[slot];
    match slot {
        RESIDUAL => batch.rows.start * width..batch.rows.end * width,
        _ => 0..batch.rows.len() * width,
    }
}
