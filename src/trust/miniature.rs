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

/// Rows of a table of positions.
const POSITIONS: usize = 128;

/// Tokens of the vocabulary; the last rows of its matrices are no whole quad.
pub const VOCABULARY: usize = 70;

/// Experts, and query heads that share a key head, at most.
const EXPERTS_MAX: usize = 8;
const SHARE_MAX: usize = 4;

/// A window that ends between the positions that are tried.
const WINDOW_MAX: usize = 66;

/// The same of one that goes both ways: it ends within a batch, too.
const AROUND_MAX: usize = 3;

/// A small model in the formats of a large one.
pub struct Miniature {
    /// The ops of the large one, each with its formats and few values.
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
        let mut means = vec![1.0f32; program.weights.len()];
        for op in program.all_ops() {
            if let Op::Scan { rate, .. } | Op::DeltaRule { rate, .. } = *op {
                // The past fades.
                means[rate.0 as usize] = -1.0;
            }
        }
        let data = program.weights.iter().zip(means).map(|(weight, mean)| match weight.is_matrix {
            true => random_rows(weight.dtype, weight.columns, weight.rows, &mut noise),
            // Norms, biases, scales and divisors of frequencies are all well near one.
            false => (0..weight.columns).flat_map(|_| (mean + 0.1 * noise.normal()).to_le_bytes()).collect(),
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
        let (weight, bytes) = (&self.program[id], &self.data[id.0 as usize]);
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
    /// By slot: whether it is as wide as in the large program.
    is_kept: Vec<bool>,
    small: Program,
    ids: HashMap<WeightId, WeightId>,
    states: HashMap<StateId, StateId>,
    /// Rows of each view of the group that is drawn: where it began, and the new count.
    views: HashMap<WeightId, Vec<(usize, usize)>>,
}

impl<'a> Sketch<'a> {
    fn new(large: &'a Program) -> Sketch<'a> {
        let is_kept = kept(large);
        let slots = slots(large, &is_kept);
        let empty = Program {
            slots: slots.clone(),
            ropes: large.ropes.clone(),
            outputs: large.outputs,
            groups: Vec::new(),
            ops: Vec::new(),
            adapters: large.adapters,
            ..Program::empty(WIDTH, VOCABULARY, 0)
        };
        let (ids, states, views) = (HashMap::new(), HashMap::new(), HashMap::new());
        Sketch { large, slots, is_kept, small: empty, ids, states, views }
    }

    fn draw(mut self) -> Program {
        let last = self.large.groups.len() - 1;
        for group in [0].into_iter().chain(new_layers(self.large)).chain([last]) {
            let number = self.small.push_group(self.large.groups[group].role);
            if group == 0 {
                self.factors();
            }
            self.views = views(&self.large.ops[group], &self.slots);
            self.small.ops[number] = self.large.ops[group].iter().map(|op| self.op(op)).collect();
        }
        self.small
    }

    /// Divisors of frequencies, which are as many as before.
    fn factors(&mut self) {
        for rope in 0..self.small.ropes.len() {
            if let Some(id) = self.small.ropes[rope].factors {
                let columns = self.large[id].columns;
                self.small.ropes[rope].factors = Some(self.weight(id, 1, columns));
            }
        }
    }

    /// An op over the small program's slots. What it is of size follows from the slots.
    fn op(&mut self, op: &Op) -> Op {
        let slots = self.slots.clone();
        let width = |slot: Slot| slots[slot.0 as usize];
        let mut op = *op;
        match &mut op {
            Op::Embed { table, dst, .. } => *table = self.weight(*table, VOCABULARY, width(*dst)),
            Op::EmbedPosition { table, dst } => *table = self.weight(*table, POSITIONS, width(*dst)),
            Op::EmbedRow { table, row, dst } => *table = self.weight(*table, *row + 1, width(*dst)),
            Op::Norm { src, weight, bias, .. } if self.is_kept[src.0 as usize] => {
                *weight = weight.map(|id| self.whole(id));
                *bias = bias.map(|id| self.whole(id));
            }
            Op::Norm { src, weight, bias, width: run, .. } => {
                // A norm over heads keeps their width, and may have weights for each of them.
                let runs = |id: WeightId| self.large[id].columns / *run;
                let whole = width(*src);
                let small = if is_of_heads(self.large, *src, *run) { *run } else { whole };
                let length = |id: WeightId| if runs(id) > 1 { whole } else { small };
                *weight = weight.map(|id| (id, length(id))).map(|(id, length)| self.weight(id, 1, length));
                *bias = bias.map(|id| (id, length(id))).map(|(id, length)| self.weight(id, 1, length));
                *run = small;
            }
            Op::MatMul { view, src, dst, epilogue } => {
                let (rows, columns) = (width(*dst), width(*src));
                epilogue.scale = epilogue.scale.map(|id| self.weight(id, 1, 1));
                *view = self.view(*view, rows, columns, 1);
                let rows = self.small[view.weight].rows;
                epilogue.bias = epilogue.bias.map(|id| self.weight(id, 1, rows));
            }
            Op::ExpertMatMul { view, src, shared, dst, used, scale, bias, .. } => {
                let all = self.large[view.weight].rows / view.rows;
                let (rows, all) = (width(*dst) / *used, experts(all, *used));
                let columns = width(*src) / if *shared { 1 } else { *used };
                *scale = scale.map(|id| self.weight(id, 1, all));
                *bias = bias.map(|id| self.weight(id, 1, all * rows));
                *view = self.view(*view, rows, columns, all);
            }
            Op::Rope { slot, heads, head_dim, .. } => *heads = width(*slot) / *head_dim,
            Op::KvWrite { state, .. } => *state = self.state(*state),
            Op::Attention { state, query, heads, kv_heads, head_dim, mask, sinks, .. } => {
                *heads = width(*query) / *head_dim;
                *state = self.state(*state);
                *kv_heads = self.small[*state].kv_widths().0 / *head_dim;
                *mask = match *mask {
                    Mask::Causal => Mask::Causal,
                    Mask::Window(tokens) => Mask::Window(tokens.min(WINDOW_MAX)),
                    Mask::Chunked(tokens) => Mask::Chunked(tokens.min(WINDOW_MAX)),
                    Mask::Full => Mask::Full,
                    Mask::Around(tokens) => Mask::Around(tokens.min(AROUND_MAX)),
                };
                *sinks = sinks.map(|id| self.weight(id, 1, *heads));
            }
            Op::Route { logits, routing, .. } => {
                routing.bias = routing.bias.map(|id| self.weight(id, 1, width(*logits)));
            }
            Op::Gate { .. } | Op::Activate { .. } | Op::Add { .. } | Op::Softcap { .. } => {}
            Op::Scale { .. } | Op::Adapt { .. } | Op::Clamp { .. } | Op::ExpertSum { .. } => {}
            Op::Weigh { slot, weight } => {
                let length = if self.large[*weight].columns == 1 { 1 } else { width(*slot) };
                *weight = self.weight(*weight, 1, length);
            }
            Op::Copy { .. } => {}
            Op::ShortConv { state, kernel, bias, .. } => {
                *state = self.state(*state);
                *kernel = kernel.map(|id| self.whole(id));
                *bias = bias.map(|id| self.whole(id));
            }
            Op::Scan { state, bias, rate, skip, .. } => {
                *state = self.state(*state);
                *bias = bias.map(|id| self.whole(id));
                (*rate, *skip) = (self.whole(*rate), self.whole(*skip));
            }
            Op::Wkv { state, .. } => *state = self.state(*state),
            Op::Echo { .. } => {}
            Op::DeltaRule { state, bias, rate, .. } => {
                *state = self.state(*state);
                (*bias, *rate) = (self.whole(*bias), self.whole(*rate));
            }
        }
        op
    }

    /// A vector of the same length.
    fn whole(&mut self, id: WeightId) -> WeightId {
        self.weight(id, 1, self.large[id].columns)
    }

    /// The small state in place of `id`, which is made when it is met first.
    fn state(&mut self, id: StateId) -> StateId {
        let (large, slots, small) = (self.large, &self.slots, &mut self.small);
        *self.states.entry(id).or_insert_with(|| {
            if large[id].fixed_values() > 0 {
                return small.push_state(large[id]);
            }
            let State::Kv(mut kv) = large[id] else { unreachable!("a state of another kind is of one size") };
            for op in large.all_ops() {
                if let Op::KvWrite { state, key, .. } = *op
                    && state == id
                {
                    kv.heads = slots[key.0 as usize] / kv.key_dim;
                }
            }
            small.push_state(State::Kv(kv))
        })
    }

    /// The new rows of a view, behind those of the views before it in the same tensor.
    fn view(&mut self, view: RowView, rows: usize, columns: usize, experts: usize) -> RowView {
        let views = &self.views[&view.weight];
        let before = |end: usize| views.iter().filter(|(first, _)| *first < end).map(|(_, rows)| rows).sum();
        let (first_row, all): (usize, usize) = (before(view.first_row), before(usize::MAX));
        RowView { weight: self.weight(view.weight, all.max(rows) * experts, columns), first_row, rows }
    }

    /// The small weight in place of `id`, in the group that is drawn when it is met first, or in the first group.
    fn weight(&mut self, id: WeightId, rows: usize, columns: usize) -> WeightId {
        let (large, small) = (self.large, &mut self.small);
        *self.ids.entry(id).or_insert_with(|| {
            let Weight { dtype, is_matrix, group, .. } = large[id];
            // What every layer may read is in the first group here, too.
            let group = if group == 0 { 0 } else { small.groups.len() - 1 };
            small.add_weight(group, dtype, [rows, columns], is_matrix)
        })
    }
}

/// The same program with all weights in F32.
fn as_f32(program: &Program) -> Program {
    let mut truth = Program { weights: Vec::new(), ..program.clone() };
    truth.groups.iter_mut().for_each(|group| (group.weights, group.bytes) = (Vec::new(), 0));
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

/// Whether a norm of `run` values of a slot is one over the heads of queries or keys.
fn is_of_heads(large: &Program, slot: Slot, run: usize) -> bool {
    large.all_ops().any(|op| match *op {
        Op::Attention { query, head_dim, .. } => query == slot && head_dim == run,
        Op::KvWrite { key, head_dim, .. } => key == slot && head_dim == run,
        Op::Embed { .. } | Op::EmbedPosition { .. } | Op::EmbedRow { .. } | Op::Norm { .. } => false,
        Op::MatMul { .. } | Op::Rope { .. } => false,
        Op::Gate { .. } | Op::Activate { .. } | Op::Add { .. } | Op::Scale { .. } | Op::Clamp { .. } => false,
        Op::Softcap { .. } | Op::Route { .. } | Op::ExpertMatMul { .. } | Op::ExpertSum { .. } => false,
        Op::Weigh { .. } | Op::Adapt { .. } => false,
        Op::Copy { .. } | Op::ShortConv { .. } | Op::Scan { .. } | Op::DeltaRule { .. } => false,
        Op::Wkv { .. } | Op::Echo { .. } => false,
    })
}

/// The slots whose widths stay: of what cuts rows, or has a state of its own shape, and whatever is as wide as these.
fn kept(large: &Program) -> Vec<bool> {
    let mut kept = vec![false; large.slots.len()];
    loop {
        let before = kept.clone();
        for op in large.all_ops() {
            let alike = match *op {
                Op::Copy { .. }
                | Op::ShortConv { .. }
                | Op::Scan { .. }
                | Op::DeltaRule { .. }
                | Op::Wkv { .. }
                | Op::Echo { .. } => {
                    let mut op = *op;
                    op.operands(&mut |operand| {
                        if let Operand::Read(slot) | Operand::Write(slot) | Operand::Update(slot) = operand {
                            kept[slot.0 as usize] = true;
                        }
                    });
                    continue;
                }
                Op::Norm { src, dst, .. } | Op::Add { src, dst } => vec![src, dst],
                Op::ExpertSum { src, dst, .. } => vec![src, dst],
                Op::Gate { gate, up, .. } => vec![gate, up],
                Op::Attention { state, query, dst, .. } => {
                    let written = large.all_ops().filter_map(|op| {
                        let Op::KvWrite { state: to, key, value, .. } = *op else { return None };
                        (to == state).then_some([key, value])
                    });
                    written.flatten().chain([query, dst]).collect()
                }
                Op::Embed { .. } | Op::EmbedPosition { .. } | Op::EmbedRow { .. } | Op::Adapt { .. } => continue,
                Op::MatMul { .. } | Op::Rope { .. } => continue,
                Op::KvWrite { .. } | Op::Activate { .. } | Op::Scale { .. } | Op::Weigh { .. } => continue,
                Op::Clamp { .. } | Op::Softcap { .. } | Op::Route { .. } | Op::ExpertMatMul { .. } => continue,
            };
            if alike.iter().any(|slot| kept[slot.0 as usize]) {
                alike.iter().for_each(|slot| kept[slot.0 as usize] = true);
            }
        }
        if kept == before {
            return kept;
        }
    }
}

/// The width of each slot, by what it is used for.
fn slots(large: &Program, is_kept: &[bool]) -> Vec<usize> {
    let mut slots = vec![WIDTH; large.slots.len()];
    let logits = large.outputs.logits;
    // Scores of a model that ranks texts are as few as before.
    slots[logits.0 as usize] = if large.makes_logits() { VOCABULARY } else { large[logits] };
    let keys = |of: StateId| {
        let mut written = None;
        for op in large.all_ops() {
            if let Op::KvWrite { state, key, value, .. } = *op
                && state == of
            {
                written = Some((key, value));
            }
        }
        written
    };
    for op in large.all_ops() {
        if let Op::Attention { state, query, dst, heads: all, kv_heads, head_dim, .. } = *op {
            let value_dim = large[state].kv_widths().1 / kv_heads;
            let (heads, kv_heads) = heads(all, kv_heads, value_dim);
            slots[query.0 as usize] = heads * head_dim;
            slots[dst.0 as usize] = heads * value_dim;
            if let Some((key, value)) = keys(state) {
                slots[key.0 as usize] = kv_heads * head_dim;
                slots[value.0 as usize] = kv_heads * value_dim;
            }
        }
        if let Op::Route { logits, choice, used, .. } = *op {
            slots[logits.0 as usize] = experts(large[logits], used);
            slots[choice.0 as usize] = 2 * used;
        }
        if let Op::ExpertMatMul { dst, used, .. } = *op {
            slots[dst.0 as usize] = used * WIDTH;
        }
    }
    for (number, slot) in slots.iter_mut().enumerate().filter(|(number, _)| is_kept[*number]) {
        *slot = large.slots[number];
    }
    slots
}

/// Where each tensor's views begin, and the rows that they have in the small model.
fn views(ops: &[Op], slots: &[usize]) -> HashMap<WeightId, Vec<(usize, usize)>> {
    let mut views: HashMap<WeightId, Vec<(usize, usize)>> = HashMap::new();
    for op in ops {
        let (Some(view), Some(dst)) = (op.matrix(), op.destination()) else { continue };
        let used = if let Op::ExpertMatMul { used, .. } = *op { used } else { 1 };
        views.entry(view.weight).or_default().push((view.first_row, slots[dst.0 as usize] / used));
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
    let format = |id: &WeightId| WeightId(large[*id].dtype.ggml_id());
    let mut op = *op;
    op.operands(&mut |operand| match operand {
        Operand::Matrix(view) => {
            *view = RowView { weight: format(&view.weight), first_row: view.first_row.min(1), ..*view };
        }
        Operand::Table(id) | Operand::Vector(id) => *id = format(id),
        Operand::ReadState(state) | Operand::WriteState(state) => {
            *state = StateId(if let State::Kv(kv) = large[*state] { kv.format as u16 } else { 0 });
        }
        Operand::Read(_) | Operand::Write(_) | Operand::Update(_) => {}
    });
    op
}
