//! Makes of a program the one that a shard executes: follows the values of each slot through the ops of a group, and
//! adds exchanges where an op needs values that other shards have.

use super::{Gather, Piece, Shares, Split, Step, divided_heads};
use crate::program::*;
use std::ops::Range;

/// What shard number `shard` of `shards` computes, of which there are two at least.
pub(super) fn split(whole: &Program, shard: usize, shards: usize) -> Split {
    Splitter::new(whole, shard, shards).run()
}

/// Where the values of a slot are.
#[derive(Clone, PartialEq, Eq)]
enum At {
    /// Every shard has all of them.
    All,
    /// The first shard has all of them, the others none.
    First,
    /// Every shard has its slice, in `slice`; and all of them, if they were divided only to be read.
    Slices { shares: Shares, slice: Slot, is_all: bool },
}

/// How the results of a product are needed.
#[derive(Clone)]
enum Need {
    Parts(Shares),
    All,
}

struct Splitter<'a> {
    whole: &'a Program,
    split: Split,
    /// By state: its heads, if they are divided.
    heads: Vec<Option<usize>>,
    /// Weights of which single rows are taken: the first shard has all of them.
    tables: Vec<bool>,
    /// Slots for slices.
    slices: Vec<(Slot, Shares, Slot)>,
    /// By slot of the whole program.
    at: Vec<At>,
    steps: Vec<Step>,
}

impl<'a> Splitter<'a> {
    fn new(whole: &'a Program, shard: usize, shards: usize) -> Splitter<'a> {
        let heads = divided_heads(whole, shards);
        let mut tables = vec![false; whole.weights.len()];
        for op in whole.all_ops() {
            { *op }.operands(&mut |operand| {
                if let Operand::Table(id) = operand {
                    tables[id.0 as usize] = true;
                }
            });
        }
        let state = |(state, heads): (&State, &Option<usize>)| match (*state, *heads) {
            (State::Kv(kv), Some(heads)) => {
                State::Kv(Kv { heads: Shares::of_heads(heads, 1, shards).of(shard).len(), ..kv })
            }
            (state, _) => state,
        };
        let groups = whole.groups.iter().map(|group| Group { role: group.role, weights: Vec::new(), bytes: 0 });
        let program = Program {
            slots: whole.slots.clone(),
            weights: Vec::new(),
            ropes: Vec::new(),
            states: whole.states.iter().zip(&heads).map(state).collect(),
            groups: groups.collect(),
            ops: vec![Vec::new(); whole.ops.len()],
            outputs: whole.outputs,
            vocabulary: whole.vocabulary,
            adapters: whole.adapters,
        };
        let pieces = vec![Vec::new(); whole.weights.len()];
        Splitter {
            whole,
            split: Split { shard, shards, program, steps: Vec::new(), pieces, heads: heads.clone() },
            heads,
            tables,
            slices: Vec::new(),
            at: vec![At::All; whole.slots.len()],
            steps: Vec::new(),
        }
    }

    fn run(mut self) -> Split {
        for rope in &self.whole.ropes {
            let factors = rope.factors.map(|id| self.all_of(id));
            self.split.program.ropes.push(Rope { factors, ..rope.clone() });
        }
        for group in 0..self.whole.groups.len() {
            let ops = &self.whole.ops[group];
            for (op, need) in ops.iter().zip(self.needs(ops)) {
                self.op(op, need);
            }
            self.gather(RESIDUAL, false);
            if self.whole.is_head(group) {
                let Outputs { hidden, logits } = self.whole.outputs;
                self.gather(hidden, true);
                self.gather(logits, true);
            }
            self.at.fill(At::All);
            let steps = std::mem::take(&mut self.steps);
            let op = |step: &Step| if let Step::Op(op) = step { Some(*op) } else { None };
            self.split.program.ops[group] = steps.iter().filter_map(op).collect();
            self.split.steps.push(steps);
        }
        self.split
    }

    /// How the results of each product among these ops are needed: known from those who use them.
    fn needs(&self, ops: &[Op]) -> Vec<Option<Need>> {
        let shards = self.split.shards;
        let mut needed: Vec<Option<Need>> = vec![None; self.whole.slots.len()];
        let mut needs = vec![None; ops.len()];
        for (index, op) in ops.iter().enumerate().rev() {
            let mut need = |slot: Slot, heads: usize| {
                let shares = Shares::of_heads(heads, self.whole[slot] / heads, shards);
                needed[slot.0 as usize] = Some(Need::Parts(shares));
            };
            if let Op::KvWrite { state, key, value, .. } = *op
                && let Some(heads) = self.heads[state.0 as usize]
            {
                need(key, heads);
                need(value, heads);
            } else if let Op::Attention { state, query, .. } = *op
                && let Some(heads) = self.heads[state.0 as usize]
            {
                need(query, heads);
            } else if let Op::Route { logits, .. } = *op {
                needed[logits.0 as usize] = Some(Need::All);
            } else if let Op::Norm { src, dst, .. } = *op
                && src != dst
            {
                needed[src.0 as usize] = needed[dst.0 as usize].take();
            } else if let Op::Gate { gate, up, .. } = *op {
                needed[up.0 as usize] = needed[gate.0 as usize].clone();
            } else if let Op::MatMul { dst, epilogue, .. } = *op {
                let needed = &mut needed[dst.0 as usize];
                // What it joins is needed like itself.
                needs[index] = if epilogue.accumulate { needed.clone() } else { needed.take() };
            }
        }
        needs
    }

    /// Adds the steps of an op.
    fn op(&mut self, op: &Op, need: Option<Need>) {
        let shards = self.split.shards;
        match *op {
            Op::Embed { dst, .. } | Op::EmbedPosition { dst, .. } | Op::EmbedRow { dst, .. } => {
                if !matches!(self.at[dst.0 as usize], At::First) && op.reads(dst) {
                    self.gather(dst, false);
                }
                if self.split.shard == 0 {
                    let op = self.with_all(op);
                    self.steps.push(Step::Op(op));
                }
                self.at[dst.0 as usize] = At::First;
            }
            // Every shard computes the few values between an adapter's factors, so that none has to be handed over.
            Op::MatMul { view, epilogue, .. } if self.whole[view.weight].adapter.is_some() && !epilogue.accumulate => {
                self.by_all(op);
            }
            Op::MatMul { view, dst, epilogue, .. } => {
                let shares = match need {
                    Some(Need::Parts(shares)) if shares.run() == view.rows => shares,
                    Some(Need::All) => return self.by_all(op),
                    _ => Shares::of_rows(1, view.rows, shards),
                };
                if self.whole[dst] != view.rows {
                    return self.by_all(op);
                }
                self.product(op, view, dst, shares, epilogue.accumulate);
            }
            Op::ExpertMatMul { view, dst, used, .. } => {
                if self.whole[dst] != used * view.rows {
                    return self.by_all(op);
                }
                self.product(op, view, dst, Shares::of_rows(used, view.rows, shards), false);
            }
            Op::Norm { src, dst, width, .. } => match self.at[src.0 as usize].clone() {
                At::Slices { shares, .. } if shares.keeps_together(width) => {
                    self.by_slices(op, &[src], &[dst], &shares);
                }
                At::All | At::First | At::Slices { .. } => self.by_all(op),
            },
            Op::Rope { slot, head_dim, .. } => match self.at[slot.0 as usize].clone() {
                At::Slices { shares, .. } if shares.keeps_together(head_dim) => {
                    self.by_slices(op, &[], &[slot], &shares);
                }
                At::All | At::First | At::Slices { .. } => self.by_all(op),
            },
            Op::KvWrite { state, key, value, .. } => match self.heads[state.0 as usize] {
                Some(heads) => {
                    let shares = |slot: Slot| Shares::of_heads(heads, self.whole[slot] / heads, shards);
                    let (keys, values) = (shares(key), shares(value));
                    self.narrow(value, &values);
                    self.by_slices(op, &[key], &[], &keys);
                }
                None => self.by_all(op),
            },
            Op::Attention { state, query, dst, .. } => match self.heads[state.0 as usize] {
                Some(heads) => {
                    let shares = |slot: Slot| Shares::of_heads(heads, self.whole[slot] / heads, shards);
                    let (queries, results) = (shares(query), shares(dst));
                    self.narrow(query, &queries);
                    self.by_slices(op, &[], &[dst], &results);
                }
                None => self.by_all(op),
            },
            Op::Gate { gate: dst, up: src, .. } | Op::Add { src, dst } => {
                let slices = |at: &At| if let At::Slices { shares, .. } = at { Some(shares.clone()) } else { None };
                match [src, dst].map(|slot| slices(&self.at[slot.0 as usize])) {
                    [Some(a), Some(b)] if a != b => self.by_all(op),
                    [Some(shares), _] | [None, Some(shares)] => self.by_slices(op, &[src], &[dst], &shares),
                    [None, None] => self.by_all(op),
                }
            }
            Op::Activate { slot, .. }
            | Op::Scale { slot, .. }
            | Op::Adapt { slot, .. }
            | Op::Clamp { slot, .. }
            | Op::Softcap { slot, .. } => match self.at[slot.0 as usize].clone() {
                At::Slices { shares, .. } => self.by_slices(op, &[], &[slot], &shares),
                At::First if self.split.shard == 0 => self.steps.push(Step::Op(*op)),
                At::First => {}
                At::All => self.by_all(op),
            },
            Op::ExpertSum { src, dst, choice, .. } => match self.at[src.0 as usize].clone() {
                At::Slices { shares, .. } => {
                    self.gather(choice, false);
                    let shares = Shares { blocks: 1, ..shares };
                    self.by_slices(op, &[], &[dst], &shares);
                }
                At::All | At::First => self.by_all(op),
            },
            // Parts of a row are put together of what every shard has. States that hold the whole past are moved on by
            // every shard for itself; see [`divides`].
            Op::Route { .. } | Op::Weigh { .. } | Op::Copy { .. } => self.by_all(op),
            Op::ShortConv { .. } | Op::Scan { .. } | Op::DeltaRule { .. } | Op::Wkv { .. } => self.by_all(op),
            Op::Echo { .. } => self.by_all(op),
        }
    }

    /// An op that every shard computes, of all values.
    fn by_all(&mut self, op: &Op) {
        let (mut read, mut written) = (Vec::new(), None);
        { *op }.operands(&mut |operand| match operand {
            Operand::Read(slot) => read.push(*slot),
            Operand::Update(slot) => {
                read.push(*slot);
                written = Some(*slot);
            }
            Operand::Write(slot) => written = Some(*slot),
            Operand::Matrix(_)
            | Operand::Table(_)
            | Operand::Vector(_)
            | Operand::ReadState(_)
            | Operand::WriteState(_) => {}
        });
        read.into_iter().for_each(|slot| self.gather(slot, false));
        let op = self.with_all(op);
        self.steps.push(Step::Op(op));
        if let Some(slot) = written {
            self.at[slot.0 as usize] = At::All;
        }
    }

    /// The op with the shard's names of its weights, of which it has all.
    fn with_all(&mut self, op: &Op) -> Op {
        let mut op = *op;
        op.operands(&mut |operand| match operand {
            Operand::Matrix(view) => view.weight = self.all_of(view.weight),
            Operand::Table(id) | Operand::Vector(id) => *id = self.all_of(*id),
            Operand::Read(_)
            | Operand::Write(_)
            | Operand::Update(_)
            | Operand::ReadState(_)
            | Operand::WriteState(_) => {}
        });
        op
    }

    /// A product of which every shard computes its rows.
    fn product(&mut self, op: &Op, view: RowView, dst: Slot, shares: Shares, is_added: bool) {
        let mut read = Vec::new();
        { *op }.operands(&mut |operand| {
            if let Operand::Read(slot) = operand {
                read.push(*slot);
            }
        });
        read.into_iter().for_each(|slot| self.gather(slot, false));
        let slice = if is_added { self.update(dst, &shares) } else { self.slice(dst, &shares) };
        let own = shares.of(self.split.shard);
        if own.is_empty() {
            return;
        }
        let mut op = *op;
        let is_whole = self.split.shard == 0 && self.tables[view.weight.0 as usize];
        if let Op::MatMul { view, dst, epilogue, .. } = &mut op {
            let first = view.first_row + own.start;
            // A bias has a value for each row of the weight.
            epilogue.bias = epilogue.bias.map(|id| match is_whole {
                true => self.all_of(id),
                false => self.values_of(id, first..first + own.len(), 0, 1),
            });
            epilogue.scale = epilogue.scale.map(|id| self.all_of(id));
            *view = match is_whole {
                true => RowView { weight: self.all_of(view.weight), first_row: first, rows: own.len() },
                false => self.rows_of(*view, &own, 1),
            };
            *dst = slice;
        } else if let Op::ExpertMatMul { view, dst, scale, bias, .. } = &mut op {
            let experts = self.whole[view.weight].rows / view.rows;
            *bias = bias.map(|id| self.values_of(id, own.clone(), view.rows, experts));
            *scale = scale.map(|id| self.all_of(id));
            *view = self.rows_of(*view, &own, experts);
            *dst = slice;
        }
        self.steps.push(Step::Op(op));
    }

    /// An op on slices: `read` are narrowed to these shares, and so are those of `written` that it reads too.
    fn by_slices(&mut self, op: &Op, read: &[Slot], written: &[Slot], shares: &Shares) {
        for slot in read {
            self.narrow(*slot, shares);
        }
        for slot in written {
            match op.reads(*slot) {
                true => self.update(*slot, shares),
                false => self.slice(*slot, shares),
            };
        }
        let own = shares.of(self.split.shard);
        if own.is_empty() {
            return;
        }
        let mut op = *op;
        match &mut op {
            Op::Norm { src, weight, bias, .. } => {
                let width = self.whole[*src];
                // A weight of the whole row has values for each run.
                let mut cut = |id: WeightId| match self.whole[id].columns == width {
                    true => self.values_of(id, own.clone(), 0, 1),
                    false => self.all_of(id),
                };
                *weight = weight.map(&mut cut);
                *bias = bias.map(&mut cut);
            }
            Op::Rope { heads, head_dim, .. } => *heads = own.len() / *head_dim,
            Op::Attention { dst, heads, kv_heads, sinks, .. } => {
                let value_dim = self.whole[*dst] / *heads;
                let first = own.start / value_dim;
                let count = own.len() / value_dim;
                *sinks = sinks.map(|id| self.values_of(id, first..first + count, 0, 1));
                *kv_heads = count / (*heads / *kv_heads);
                *heads = count;
            }
            Op::KvWrite { .. }
            | Op::Gate { .. }
            | Op::Activate { .. }
            | Op::Add { .. }
            | Op::Scale { .. }
            | Op::Adapt { .. }
            | Op::Clamp { .. }
            | Op::Softcap { .. }
            | Op::ExpertSum { .. } => {}
            Op::Embed { .. }
            | Op::EmbedPosition { .. }
            | Op::EmbedRow { .. }
            | Op::MatMul { .. }
            | Op::Route { .. }
            | Op::Weigh { .. }
            | Op::Copy { .. }
            | Op::ShortConv { .. }
            | Op::Scan { .. }
            | Op::DeltaRule { .. }
            | Op::Wkv { .. }
            | Op::Echo { .. }
            | Op::ExpertMatMul { .. } => unreachable!("not computed by slices"),
        }
        op.operands(&mut |operand| {
            if let Operand::Read(slot) | Operand::Write(slot) | Operand::Update(slot) = operand
                && let At::Slices { slice, .. } = self.at[slot.0 as usize]
            {
                *slot = slice;
            }
        });
        self.steps.push(Step::Op(op));
    }

    /// The slot for slices of `slot`, which get new values.
    fn slice(&mut self, slot: Slot, shares: &Shares) -> Slot {
        let found = self.slices.iter().find(|(of, like, _)| *of == slot && like == shares);
        let slice = match found {
            Some((.., slice)) => *slice,
            None => {
                let slice = self.split.program.push_slot(shares.width(self.split.shard));
                self.slices.push((slot, shares.clone(), slice));
                slice
            }
        };
        self.at[slot.0 as usize] = At::Slices { shares: shares.clone(), slice, is_all: false };
        slice
    }

    /// The slot with this shard's slice of the values of `slot`, to be changed.
    fn update(&mut self, slot: Slot, shares: &Shares) -> Slot {
        let slice = self.narrow(slot, shares);
        self.at[slot.0 as usize] = At::Slices { shares: shares.clone(), slice, is_all: false };
        slice
    }

    /// The slot with this shard's slice of the values of `slot`, to be read.
    fn narrow(&mut self, slot: Slot, shares: &Shares) -> Slot {
        if let At::Slices { shares: held, slice, .. } = &self.at[slot.0 as usize]
            && held == shares
        {
            return *slice;
        }
        self.gather(slot, false);
        let slice = self.slice(slot, shares);
        self.at[slot.0 as usize] = At::Slices { shares: shares.clone(), slice, is_all: true };
        if shares.width(self.split.shard) > 0 {
            self.steps.push(Step::Narrow { whole: slot, slice, shares: shares.clone() });
        }
        slice
    }

    /// Brings all values of `slot` to every shard, or to the first one.
    fn gather(&mut self, slot: Slot, is_to_first: bool) {
        let (slice, shares) = match self.at[slot.0 as usize].clone() {
            At::All => return,
            At::Slices { is_all: true, .. } => {
                self.at[slot.0 as usize] = At::All;
                return;
            }
            At::First => (slot, Shares::of_first(self.whole[slot], self.split.shards)),
            At::Slices { shares, slice, .. } => (slice, shares),
        };
        let slice = (shares.width(self.split.shard) > 0).then_some(slice);
        self.steps.push(Step::Gather(Gather { slice, whole: slot, shares, is_to_first }));
        self.at[slot.0 as usize] = At::All;
    }

    /// The shard's copy of a weight.
    fn all_of(&mut self, id: WeightId) -> WeightId {
        let weight = self.whole[id].clone();
        self.piece(id, weight, 0, 0, 1)
    }

    /// The shard's weight of these of the rows of a view, or of each of `experts` that follow one another.
    fn rows_of(&mut self, view: RowView, own: &Range<usize>, experts: usize) -> RowView {
        let weight = &self.whole[view.weight];
        let row_bytes = weight.bytes / weight.rows;
        let first = (view.first_row + own.start) * row_bytes;
        let weight = Weight { rows: own.len() * experts, bytes: own.len() * experts * row_bytes, ..weight.clone() };
        let weight = self.piece(view.weight, weight, first, view.rows * row_bytes, experts);
        RowView { weight, first_row: 0, rows: own.len() }
    }

    /// The shard's vector of these values of a vector, or of each of `runs` that are `stride` long.
    fn values_of(&mut self, id: WeightId, values: Range<usize>, stride: usize, runs: usize) -> WeightId {
        const BYTES: usize = size_of::<f32>();
        let columns = values.len() * runs;
        let weight = Weight { columns, bytes: columns * BYTES, ..self.whole[id].clone() };
        self.piece(id, weight, values.start * BYTES, stride * BYTES, runs)
    }

    /// The shard's `weight`, made of `count` runs of the bytes of the weight `id`.
    fn piece(&mut self, id: WeightId, weight: Weight, first: usize, stride: usize, count: usize) -> WeightId {
        let pieces = &mut self.split.pieces[id.0 as usize];
        let bytes = weight.bytes / count;
        let like =
            |piece: &&Piece| (piece.first, piece.bytes, piece.stride, piece.count) == (first, bytes, stride, count);
        if let Some(piece) = pieces.iter().find(like) {
            return piece.local;
        }
        let file_offset = weight.file_offset + first as u64;
        let local = self.split.program.push_weight(Weight { file_offset, ..weight });
        pieces.push(Piece { local, first, bytes, stride, count });
        local
    }
}
