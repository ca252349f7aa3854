//! A model in small: the ops of a model in their order, with its formats, rotations, windows and activations,
//! over narrow slots and random weights. Layers that use nothing new are left out.

use crate::error::Result;
use crate::gpu::{Device, Gpu, Room, Ways};
use crate::program::*;
use crate::quant::random::{Noise, random_rows};
use crate::quant::{Dtype, dequantise_row};
use std::collections::HashMap;
use std::rc::Rc;

/// Values of a row: a whole block of every format.
const WIDTH: usize = 256;

/// Tokens of the vocabulary; the last rows of its matrices are no whole quad.
pub const VOCABULARY: usize = 70;

/// Experts, and query heads that share a key head, at most.
const EXPERTS_MAX: usize = 8;
const SHARE_MAX: usize = 4;

/// A window that ends between the positions that are tried.
const WINDOW_MAX: usize = 66;

/// A small model in the formats of a large one.
pub struct Miniature {
    pub program: Program,
    /// The same with every matrix in F32, for a backend that would round its inputs otherwise.
    pub truth: Program,
    /// The bytes of each weight, in the formats of `program`.
    pub data: Vec<Vec<u8>>,
}

impl Miniature {
    /// Draws `program` small.
    pub fn new(program: &Program) -> Miniature {
        Miniature::of(Sketch::new(program).draw())
    }

    /// A program that is small enough, with random weights.
    pub fn of(program: Program) -> Miniature {
        let truth = as_f32(&program);
        let mut noise = Noise::new(7);
        let data = program.weights.iter().map(|weight| match weight.is_matrix {
            true => random_rows(weight.dtype, weight.columns, weight.rows, &mut noise),
            // Norms, biases, scales and divisors of frequencies are all well near one.
            false => (0..weight.columns).flat_map(|_| (1.0 + 0.1 * noise.normal()).to_le_bytes()).collect(),
        });
        Miniature { data: data.collect(), program, truth }
    }

    /// The program on a device, with all of its weights.
    pub fn on(&self, device: Rc<Device>, room: Room, ways: Ways) -> Result<Gpu> {
        let mut gpu = Gpu::with_room(device, &self.program, room, ways)?;
        for (number, (weight, bytes)) in self.program.weights.iter().zip(&self.data).enumerate() {
            gpu.allocate(&self.program, weight.group)?;
            let id = WeightId(number as u32);
            gpu.fill(&self.program, id, 0..bytes.len(), |range, to| to.copy_from_slice(&bytes[range]));
        }
        Ok(gpu)
    }

    /// A weight's bytes for `truth`.
    pub fn dequantised(&self, id: WeightId) -> Vec<u8> {
        let (weight, bytes) = (&self.program.weights[id.0 as usize], &self.data[id.0 as usize]);
        let mut row = vec![0.0; weight.columns];
        let rows = bytes.chunks_exact(bytes.len() / weight.rows);
        let values = rows.flat_map(|bytes| {
            dequantise_row(weight.dtype, bytes, &mut row);
            row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        });
        values.collect()
    }
}

/// A small program under construction.
struct Sketch<'a> {
    large: &'a Program,
    slots: Vec<usize>,
    small: Program,
    ids: HashMap<WeightId, WeightId>,
    /// Rows of each view of the group that is drawn: where it began, and the new count.
    views: HashMap<WeightId, Vec<(usize, usize)>>,
}

impl<'a> Sketch<'a> {
    fn new(large: &'a Program) -> Sketch<'a> {
        let slots = slots(large);
        let empty = Program {
            slots: slots.clone(),
            ropes: large.ropes.clone(),
            logits: large.logits,
            ..Program::empty(WIDTH, VOCABULARY, 0)
        };
        Sketch { large, slots, small: empty, ids: HashMap::new(), views: HashMap::new() }
    }

    fn draw(mut self) -> Program {
        let last = self.large.groups.len() - 1;
        for group in [0].into_iter().chain(new_layers(self.large)).chain([last]) {
            self.small.groups.push(Group { weights: Vec::new(), bytes: 0 });
            if group == 0 {
                self.factors();
            }
            self.views = views(&self.large.ops[group], &self.slots);
            let ops = self.large.ops[group].iter().map(|op| self.op(op)).collect();
            self.small.ops.push(ops);
        }
        self.small
    }

    /// Divisors of frequencies, which are as many as before.
    fn factors(&mut self) {
        for rope in 0..self.small.ropes.len() {
            if let Some(id) = self.small.ropes[rope].factors {
                let columns = self.large.weights[id.0 as usize].columns;
                self.small.ropes[rope].factors = Some(self.weight(id, 1, columns));
            }
        }
    }

    fn op(&mut self, op: &Op) -> Op {
        let layer = self.small.groups.len().saturating_sub(2);
        let mut op = op.clone();
        match &mut op {
            Op::Embed { table, .. } => *table = self.weight(*table, VOCABULARY, WIDTH),
            Op::RmsNorm { src, weight, width, .. } => {
                let heads = self.large.ops.iter().flatten();
                let mut heads = heads.filter(|op| matches!(op, Op::Rope { slot, .. } if slot == src));
                // A norm over heads keeps their width.
                if heads.next().is_none() {
                    *width = self.slots[src.0 as usize];
                }
                *weight = self.weight(*weight, 1, *width);
            }
            Op::MatMul { view, src, dst, epilogue } => {
                let (rows, columns) = (self.slots[dst.0 as usize], self.slots[src.0 as usize]);
                epilogue.scale = epilogue.scale.map(|id| self.weight(id, 1, 1));
                epilogue.bias = epilogue.bias.map(|id| self.weight(id, 1, rows));
                *view = self.view(*view, rows, columns, 1);
            }
            Op::ExpertMatMul { view, src, shared, dst, used, scale, .. } => {
                let all = self.large.weights[view.weight.0 as usize].rows / view.rows;
                let (rows, all) = (self.slots[dst.0 as usize] / *used, experts(all, *used));
                let columns = self.slots[src.0 as usize] / if *shared { 1 } else { *used };
                *scale = scale.map(|id| self.weight(id, 1, all));
                *view = self.view(*view, rows, columns, all);
            }
            Op::Rope { slot, heads, head_dim, .. } => *heads = self.slots[slot.0 as usize] / *head_dim,
            Op::KvWrite { layer: of, key, value, .. } => {
                self.small.kv_widths.resize(layer + 1, (0, 0));
                self.small.kv_widths[layer] = (self.slots[key.0 as usize], self.slots[value.0 as usize]);
                *of = layer;
            }
            Op::Attention { layer: of, query, heads, kv_heads, head_dim, window, .. } => {
                *heads = self.slots[query.0 as usize] / *head_dim;
                *kv_heads = self.small.kv_widths[layer].0 / *head_dim;
                *window = window.map(|window| window.min(WINDOW_MAX));
                *of = layer;
            }
            Op::Gate { .. } | Op::Add { .. } | Op::Softcap { .. } | Op::Route { .. } | Op::ExpertSum { .. } => {}
        }
        op
    }

    /// The new rows of a view, behind those of the views before it in the same tensor.
    fn view(&mut self, view: RowView, rows: usize, columns: usize, experts: usize) -> RowView {
        let parts = &self.views[&view.weight];
        let before = |end: usize| parts.iter().filter(|(first, _)| *first < end).map(|(_, rows)| rows).sum();
        let (first_row, all): (usize, usize) = (before(view.first_row), before(usize::MAX));
        RowView { weight: self.weight(view.weight, all.max(rows) * experts, columns), first_row, rows }
    }

    /// The small weight in place of `id`, in the group that is drawn when it is met first.
    fn weight(&mut self, id: WeightId, rows: usize, columns: usize) -> WeightId {
        let (large, small) = (self.large, &mut self.small);
        *self.ids.entry(id).or_insert_with(|| {
            let Weight { dtype, is_matrix, .. } = large.weights[id.0 as usize];
            small.add_weight(small.groups.len() - 1, dtype, [rows, columns], is_matrix)
        })
    }
}

/// The same program with all weights in F32.
fn as_f32(program: &Program) -> Program {
    let groups = vec![Group { weights: Vec::new(), bytes: 0 }; program.groups.len()];
    let mut truth = Program { weights: Vec::new(), groups, ..program.clone() };
    for w in &program.weights {
        truth.add_weight(w.group, Dtype::F32, [w.rows, w.columns], w.is_matrix);
    }
    truth
}

/// Experts of the small model.
fn experts(all: usize, used: usize) -> usize {
    all.min(EXPERTS_MAX.max(used))
}

/// Query heads and key heads in place of so many, such that the queries' output is whole blocks.
fn heads(heads: usize, kv_heads: usize, value_dim: usize) -> (usize, usize) {
    let share = (heads / kv_heads).clamp(1, SHARE_MAX);
    let least = kv_heads.min(2);
    let kv_heads = (least..=WIDTH).find(|n| (n * share * value_dim).is_multiple_of(WIDTH)).unwrap_or(WIDTH);
    (share * kv_heads, kv_heads)
}

/// The width of each slot, by what it is used for.
fn slots(large: &Program) -> Vec<usize> {
    let mut slots = vec![WIDTH; large.slots.len()];
    slots[large.logits.0 as usize] = VOCABULARY;
    for op in large.ops.iter().flatten() {
        match *op {
            Op::KvWrite { layer, key, value, head_dim } => {
                let (keys, values) = large.kv_widths[layer];
                let query = large.ops.iter().flatten().find_map(|op| match *op {
                    Op::Attention { layer: of, query, dst, heads, .. } if of == layer => Some((query, dst, heads)),
                    _ => None,
                });
                let kv_heads = keys / head_dim;
                let value_dim = values / kv_heads;
                let Some((query, attended, all)) = query else { continue };
                let (heads, kv_heads) = heads(all, kv_heads, value_dim);
                slots[query.0 as usize] = heads * head_dim;
                slots[attended.0 as usize] = heads * value_dim;
                slots[key.0 as usize] = kv_heads * head_dim;
                slots[value.0 as usize] = kv_heads * value_dim;
            }
            Op::Route { logits, choice, used, .. } => {
                slots[logits.0 as usize] = experts(large.slots[logits.0 as usize], used);
                slots[choice.0 as usize] = 2 * used;
            }
            Op::ExpertMatMul { dst, used, .. } => slots[dst.0 as usize] = used * WIDTH,
            _ => {}
        }
    }
    slots
}

/// Where each tensor's views begin, and the rows that they have in the small model.
fn views(ops: &[Op], slots: &[usize]) -> HashMap<WeightId, Vec<(usize, usize)>> {
    let mut views: HashMap<WeightId, Vec<(usize, usize)>> = HashMap::new();
    for op in ops {
        let (view, rows) = match op {
            Op::MatMul { view, dst, .. } => (view, slots[dst.0 as usize]),
            Op::ExpertMatMul { view, dst, used, .. } => (view, slots[dst.0 as usize] / used),
            _ => continue,
        };
        views.entry(view.weight).or_default().push((view.first_row, rows));
    }
    views
}

/// The layers with an op, or a format of an op, that no layer before them has.
fn new_layers(large: &Program) -> Vec<usize> {
    let mut seen: Vec<Op> = Vec::new();
    let layers = 1..large.groups.len() - 1;
    layers
        .filter(|layer| {
            let before = seen.len();
            for op in &large.ops[*layer] {
                let kind = kind(large, op);
                if !seen.contains(&kind) {
                    seen.push(kind);
                }
            }
            seen.len() > before
        })
        .collect()
}

/// An op without what tells one layer's from another's: formats stand in place of weights.
fn kind(large: &Program, op: &Op) -> Op {
    let format = |id: WeightId| WeightId(large.weights[id.0 as usize].dtype.ggml_id());
    let view = |view: RowView| RowView { weight: format(view.weight), first_row: view.first_row.min(1), ..view };
    let mut op = op.clone();
    match &mut op {
        Op::RmsNorm { weight, .. } => *weight = format(*weight),
        Op::MatMul { view: v, epilogue, .. } => {
            *v = view(*v);
            (epilogue.scale, epilogue.bias) = (epilogue.scale.map(format), epilogue.bias.map(format));
        }
        Op::ExpertMatMul { view: v, scale, .. } => (*v, *scale) = (view(*v), scale.map(format)),
        Op::KvWrite { layer, .. } | Op::Attention { layer, .. } => *layer = 0,
        Op::Embed { .. } | Op::Rope { .. } | Op::Gate { .. } | Op::Add { .. } => {}
        Op::Softcap { .. } | Op::Route { .. } | Op::ExpertSum { .. } => {}
    }
    op
}
