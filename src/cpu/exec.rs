//! The walk through the ops: of the whole program, or of what one of several threads computes of it (see
//! [`super::team`]). It pauses where another thread's values are not there yet, and goes on when it is asked again.

mod adapt;
mod lanes;
mod moves;
mod slices;

use super::team::{Gather, Split, Step};
use super::{Cpu, DiskReader, ExpertCounters, Fork, KvCache, memory};
use crate::error::Result;
use crate::exec::{Batch, Member, Poll, Wanted};
use crate::pager::{Intervals, Placement};
use crate::program::*;
use std::ops::Range;

pub use moves::Move;
use moves::{Layouts, Moving};
use slices::stage_values;

/// What the first shard tells the others to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// To run groups.
    Run(Groups),
    /// To hand over a piece of a state, or to take one.
    Move(Move),
    /// To let a lane have what another one keeps.
    Fork(Fork),
    /// To compute with these scales of the adapters from now on.
    Adapt(Vec<f32>),
}

/// Groups to run over a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Consecutive groups.
    pub groups: Range<usize>,
    /// Position of the first token of the batch.
    pub position: usize,
    /// Rows of the residual stream.
    pub rows: Range<usize>,
    /// Positions that have keys when the batch attends.
    pub positions: usize,
    /// Rows that the pass has in all.
    pub pass_rows: usize,
    /// Of the head only what the hidden state takes.
    pub is_hidden: bool,
    /// The lane of the sequence that the batch is of, …
    pub lane: usize,
    /// … or those of several sequences that have a token each in it.
    pub members: Vec<Member>,
    /// Where the lane has the texts that the batch is of, where those are several.
    pub texts: Vec<Range<usize>>,
}

/// The other shards, as one of them sees them. All shards come to the same exchanges in the same order.
pub trait Peers {
    /// Tells the others what to do. Only the first shard does.
    fn order(&mut self, order: &Order);

    /// Hands this shard's slice of the next exchange to the others, or to the first one only. Pending: it is to be
    /// handed over again, since one of them has not come as far.
    fn send(&mut self, slice: &[f32], is_to_first: bool) -> Poll;

    /// Takes the slice of shard number `from` of that exchange, if it is there.
    fn receive(&mut self, from: usize, slice: &mut [f32]) -> Poll;
}

/// Where a run has come to.
#[derive(Default)]
struct Run {
    order: Groups,
    /// Known to the first shard, which alone embeds them.
    tokens: Vec<u32>,
    /// They are embedded already.
    is_embedded: bool,
    group: usize,
    step: usize,
    /// The exchange under way: this shard's slice was handed over, and those before number `from` came.
    is_sent: bool,
    from: usize,
}

impl Groups {
    /// The batch that it is about.
    fn batch<'a>(&'a self, tokens: &'a [u32]) -> Batch<'a> {
        let Groups { position, positions, lane, ref members, ref texts, .. } = *self;
        Batch { tokens, position, rows: self.rows.clone(), positions, lane, members, texts }
    }
}

/// What has come of the weights of the whole program, where the shard has some of them only.
struct Coverage {
    /// By weight.
    filled: Vec<Intervals>,
    /// By group: bytes that are missing.
    missing: Vec<u64>,
}

impl Coverage {
    fn new(program: &Program) -> Coverage {
        let missing = |group: &Group| group.weights.iter().map(|id| program[*id].bytes as u64).sum();
        Coverage {
            filled: program.weights.iter().map(|_| Intervals::default()).collect(),
            missing: program.groups.iter().map(missing).collect(),
        }
    }

    fn insert(&mut self, program: &Program, id: WeightId, range: Range<usize>) {
        let filled = &mut self.filled[id.0 as usize];
        let fresh: usize = filled.gaps(&range).iter().map(Range::len).sum();
        self.missing[program[id].group] -= fresh as u64;
        filled.insert(range);
    }
}

/// One thread's shard of a model on the CPU: all of it, where there are no others.
pub struct Shard {
    split: Split,
    cpu: Cpu,
    peers: Option<Box<dyn Peers>>,
    coverage: Option<Coverage>,
    run: Run,
    /// Where states lie, where there are other shards.
    layouts: Option<Layouts>,
    moving: Option<Moving>,
    is_lost: bool,
    /// The first of several groups of a run that left a value that is not finite in the residual stream.
    damaged: Option<usize>,
    /// Another shard's slice on its way to its slot.
    stage: Vec<f32>,
    pass_rows: usize,
    /// Which of the tokens that went through the head last [`Shard::logits`] is of.
    shown: usize,
}

impl Shard {
    /// Allocates everything but weights and the residual stream for shard number `shard` of `shards`, and sequences of
    /// up to `context` tokens, of which there may come to be so many lanes.
    pub fn new(program: &Program, context: usize, shard: usize, shards: usize, lanes: usize) -> Result<Shard> {
        let split = Split::new(program, shard, shards);
        Ok(Shard {
            cpu: Cpu::new(&split.program, context)?,
            peers: None,
            coverage: (shards > 1).then(|| Coverage::new(program)),
            run: Run::default(),
            layouts: (shards > 1).then(|| Layouts::new(program, &split, context)),
            moving: None,
            is_lost: false,
            damaged: None,
            stage: memory::zeroed(stage_values(&split, super::BATCH_MAX.min(context), lanes))?,
            pass_rows: 0,
            shown: 0,
            split,
        })
    }

    /// Bytes that a shard needs beside weights and cache; see [`Cpu::scratch_bytes`].
    pub fn scratch_bytes(split: &Split, context: usize, lanes: usize) -> u64 {
        let stage = 4 * stage_values(split, super::BATCH_MAX.min(context), lanes) as u64;
        Cpu::scratch_bytes(&split.program, context) + stage
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.split.shards
    }

    /// Values of the largest slice that a shard hands to another.
    pub fn slice_values(&self) -> usize {
        self.stage.len()
    }

    /// Sets the way to the others.
    pub fn set_peers(&mut self, peers: Box<dyn Peers>) {
        self.peers = Some(peers);
    }

    /// Whether another shard is gone.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Gives a group memory; see [`super::Weights::allocate`].
    pub fn allocate(&mut self, group: usize, placement: Placement) -> Result<()> {
        self.cpu.weights.allocate(&self.split.program, group, placement)
    }

    /// Sets what reads the matrices that stay on disk, and how many bytes at once.
    pub fn set_disk(&mut self, reader: DiskReader) {
        self.cpu.weights.set_disk(reader);
    }

    /// Sets how many bytes are read from disk at once.
    pub fn set_read_bytes(&mut self, bytes: u64) {
        self.cpu.weights.set_read_bytes(bytes);
    }

    /// Makes room for experts of matrices on disk, in so many bytes at most.
    pub fn make_room_for_experts(&mut self, bytes: u64) -> Result<()> {
        self.cpu.weights.make_room_for_experts(&self.split.program, bytes)
    }

    /// How products with experts on disk found them.
    pub fn expert_counters(&self) -> ExpertCounters {
        self.cpu.weights.expert_counters()
    }

    /// Whether a product could not read a matrix since this was asked last.
    pub fn take_failure(&self) -> bool {
        self.cpu.weights.take_failure()
    }

    /// Drops a group; its memory waits for the next one.
    pub fn evict(&mut self, group: usize) {
        self.cpu.weights.evict(group);
    }

    /// Drops a group and its memory.
    pub fn release(&mut self, group: usize) {
        self.cpu.weights.release(group);
    }

    /// Whether every byte of a group has come, the others' among them.
    pub fn resident(&self, group: usize) -> bool {
        match &self.coverage {
            Some(coverage) => coverage.missing[group] == 0,
            None => self.cpu.weights.resident(group),
        }
    }

    /// Bytes allocated for weights.
    pub fn weight_bytes(&self) -> u64 {
        self.cpu.weights.bytes()
    }

    /// Brings `range` of a weight's bytes into place, as far as they are this shard's; see [`super::Weights::fill`].
    /// `program` is the whole one.
    pub fn fill<E>(
        &mut self,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        mut copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for piece in &self.split.pieces[id.0 as usize] {
            for (within, local) in piece.within(&range) {
                let own = local..local + within.len();
                self.cpu.weights.fill(&self.split.program, piece.local, own, |gap, to| {
                    let from = within.start + (gap.start - local);
                    copy(from..from + gap.len(), to)
                })?;
            }
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.insert(program, id, range);
        }
        Ok(())
    }

    /// Keeps a vector that came before its group.
    pub fn keep(&mut self, id: WeightId, bytes: &[u8]) {
        if let Some(local) = self.split.local(id) {
            self.cpu.weights.keep(local, bytes);
        }
    }

    /// Makes room for a pass of `tokens` rows, after which the sequence has so many positions.
    pub fn reserve(&mut self, tokens: usize, positions: usize) -> Result<()> {
        self.pass_rows = self.pass_rows.max(tokens);
        self.cpu.reserve(&self.split.program, tokens, positions)
    }

    /// Positions that a state has room for.
    pub fn room(&self, state: StateId) -> usize {
        self.cpu.cache().room(state)
    }

    /// Bytes of this shard's keys and values, as far as there is room for them, and of its other states.
    pub fn state_bytes_held(&self) -> u64 {
        self.cpu.held_bytes() + 4 * (self.cpu.lanes() * self.split.program.fixed_values()) as u64
    }

    /// Puts values in place of a row of the residual stream.
    pub fn set_residual(&mut self, row: usize, values: &[f32]) {
        self.cpu.set_residual(row, values);
    }

    /// Begins to run a batch through these groups, with all shards. No run may be under way.
    pub fn begin(&mut self, groups: Range<usize>, batch: &Batch, wanted: Wanted) {
        let is_hidden = match wanted {
            Wanted::Hidden => true,
            Wanted::Token(_) | Wanted::Logits => false,
        };
        self.start(groups, batch, is_hidden, false);
    }

    /// The same of the first group for tokens that were embedded by [`Shard::set_residual`].
    pub fn begin_embedded(&mut self, batch: &Batch) {
        self.start(0..1, batch, false, true);
    }

    fn start(&mut self, groups: Range<usize>, batch: &Batch, is_hidden: bool, is_embedded: bool) {
        debug_assert!(!self.is_running() && batch.rows.len() == batch.tokens.len());
        let (rows, pass_rows) = (batch.rows.clone(), self.pass_rows);
        let Batch { position, positions, lane, .. } = *batch;
        let mut members = std::mem::take(&mut self.run.order.members);
        members.clear();
        members.extend_from_slice(batch.members);
        let mut texts = std::mem::take(&mut self.run.order.texts);
        texts.clear();
        texts.extend_from_slice(batch.texts);
        let order = Groups { groups, position, rows, positions, pass_rows, is_hidden, lane, members, texts };
        self.shown = 0;
        if let Some(peers) = &mut self.peers {
            peers.order(&Order::Run(order.clone()));
        }
        self.run.tokens.clear();
        self.run.tokens.extend_from_slice(batch.tokens);
        self.obey(order, is_embedded);
    }

    /// Begins what the first shard ordered; see [`Shard::begin`].
    pub fn follow(&mut self, order: &Order) -> Result<()> {
        let order = match order {
            Order::Run(order) => order,
            Order::Move(order) => {
                self.turn_to(order.lane)?;
                self.cpu.cache_mut().reserve(order.positions)?;
                self.moving = Some(Moving::new(order.clone()));
                return Ok(());
            }
            Order::Fork(fork) => {
                self.turn_to(fork.to)?;
                return self.cpu.fork(*fork);
            }
            Order::Adapt(scales) => {
                self.set_scales(scales);
                return Ok(());
            }
        };
        for member in &order.members {
            self.turn_to(member.lane)?;
            self.cpu.cache_mut().reserve(member.position + 1)?;
        }
        self.turn_to(order.lane)?;
        self.cpu.reserve(&self.split.program, order.pass_rows, order.positions)?;
        self.run.tokens.clear();
        self.run.tokens.resize(order.rows.len(), 0);
        self.obey(order.clone(), false);
        Ok(())
    }

    /// Selects a lane, which there may not be yet.
    fn turn_to(&mut self, lane: usize) -> Result<()> {
        self.open_lanes(self.lanes().max(lane + 1))?;
        self.select(lane);
        Ok(())
    }

    fn obey(&mut self, order: Groups, is_embedded: bool) {
        debug_assert!(order.rows.len() <= super::BATCH_MAX);
        let tokens = std::mem::take(&mut self.run.tokens);
        self.run = Run { group: order.groups.start, order, tokens, is_embedded, ..Run::default() };
        self.cpu.quantised = None;
        self.damaged = None;
    }

    /// The group of the last run that made a value that is not finite, if others followed it.
    pub fn damaged(&self) -> Option<usize> {
        self.damaged
    }

    /// Whether a run, or the move of a state, has not come to its end.
    pub fn is_running(&self) -> bool {
        self.has_steps() || self.is_moving()
    }

    fn is_moving(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| !moving.is_done(self.split.shards))
    }

    fn has_steps(&self) -> bool {
        self.run.group < self.run.order.groups.end
    }

    /// Goes on with the run under way, as far as that goes now.
    pub fn poll(&mut self) -> Poll {
        if self.is_lost {
            return Poll::Lost;
        }
        match self.go_on_moving() {
            Poll::Ready => {}
            poll => return poll,
        }
        while self.has_steps() {
            let group = self.run.group;
            let steps = &self.split.steps[group];
            let needed = if self.run.order.is_hidden { self.split.steps_until_hidden(group) } else { steps.len() };
            if self.run.step == needed {
                (self.run.group, self.run.step) = (group + 1, 0);
                let is_finite = |row| super::vector::all_finite(self.cpu.residual(&self.split.program, row));
                if self.has_steps() && self.damaged.is_none() && !self.run.order.rows.clone().all(is_finite) {
                    self.damaged = Some(group);
                }
                continue;
            }
            let batch = self.run.order.batch(&self.run.tokens);
            match &steps[self.run.step] {
                Step::Op(_) if self.run.is_embedded => {}
                Step::Op(op) if self.cpu.passes_over(&self.split.program, op) => {}
                Step::Op(op) => self.cpu.step(&self.split.program, op, &batch),
                Step::Narrow { whole, slice, shares } => {
                    let own = shares.of(self.split.shard);
                    self.cpu.narrow(&self.split.program, *whole, *slice, shares.run(), own, &batch);
                }
                Step::Gather(_) => match self.exchange() {
                    Poll::Ready => {}
                    Poll::Pending => return Poll::Pending,
                    Poll::Lost => {
                        self.is_lost = true;
                        return Poll::Lost;
                    }
                },
            }
            self.run.step += 1;
        }
        Poll::Ready
    }

    /// Goes on with the exchange that the run is at.
    fn exchange(&mut self) -> Poll {
        let Shard { split: Split { shard, shards, program, steps, .. }, cpu, peers, run, stage, .. } = self;
        let (Step::Gather(gather), Some(peers)) = (&steps[run.group][run.step], peers) else { return Poll::Lost };
        let Gather { slice, whole, shares, is_to_first } = gather;
        let batch = run.order.batch(&run.tokens);
        let receives = *shard == 0 || !is_to_first;
        if !run.is_sent {
            let values = slice.map_or(&[][..], |slice| cpu.values(program, slice, &batch));
            match peers.send(values, *is_to_first) {
                Poll::Ready => (run.is_sent, run.from) = (true, 0),
                poll => return poll,
            }
            if let Some(slice) = slice.filter(|slice| receives && slice != whole) {
                let values = std::mem::take(&mut cpu.slots[slice.0 as usize]);
                cpu.put_slice(program, *whole, shares, *shard, &values, &batch);
                cpu.slots[slice.0 as usize] = values;
            }
        }
        while receives && run.from < *shards {
            let values = &mut stage[..shares.width(run.from) * batch.rows.len()];
            if run.from != *shard && !values.is_empty() {
                match peers.receive(run.from, values) {
                    Poll::Ready => cpu.put_slice(program, *whole, shares, run.from, values, &batch),
                    poll => return poll,
                }
            }
            run.from += 1;
        }
        run.is_sent = false;
        Poll::Ready
    }

    /// A row of the residual stream.
    pub fn residual(&self, row: usize) -> &[f32] {
        self.cpu.residual(&self.split.program, row)
    }

    /// The head's normalised input for these rows, which ran through the head last: `[row][width]`.
    pub fn hidden(&self, rows: Range<usize>) -> &[f32] {
        self.cpu.hidden(&self.split.program, rows)
    }

    /// The bytes of a state, of this shard's heads.
    pub fn state_bytes(&mut self, state: StateId) -> &mut [u8] {
        self.cpu.state_bytes(state)
    }

    /// Copies a state that holds the whole past as it is now.
    pub fn copy_state(&mut self, state: StateId, copy: usize) {
        self.cpu.lane().fixed.copy(state, copy);
    }

    /// Puts a copy in place of all such states.
    pub fn take_back(&mut self, copy: usize) {
        self.cpu.lane().fixed.take_back(copy);
    }

    /// The cache of keys and values of the shard's heads.
    pub fn cache(&self) -> &KvCache {
        self.cpu.cache()
    }

    /// The same, to be changed.
    pub fn cache_mut(&mut self) -> &mut KvCache {
        self.cpu.cache_mut()
    }
}
