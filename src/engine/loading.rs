//! Which of the model's bytes are there, which come next, and where what comes belongs.

use super::backend::Backend;
use super::early_rows::EarlyRows;
use super::follower::Deliveries;
use super::memory::{MemoryPlan, OpenOptions};
use super::weight_ranges::{Piece, WeightRanges};
use crate::cpu::DiskReader;
use crate::error::Result;
use crate::exec::Batch;
use crate::pager::{Action, Pace, Pager, Placement, SourceRange, State, group_ranges};
use crate::program::Program;
use std::ops::Range;

/// The weights of one program on their way to a backend.
pub struct Loading {
    pub pager: Pager,
    pub plan: MemoryPlan,
    pub options: OpenOptions,
    /// What comes before the first group, if that comes last.
    pub early: Option<EarlyRows>,
    /// What the other threads need.
    pub deliveries: Deliveries,
    /// To find where a piece of a file belongs.
    ranges: WeightRanges,
    /// Reads weights that stay on disk.
    disk: Option<DiskReader>,
    peak_bytes: u64,
}

impl Loading {
    /// Nothing is there yet.
    pub fn new(program: &Program, plan: MemoryPlan, options: &OpenOptions, deliveries: Deliveries) -> Loading {
        let early = EarlyRows::new(program);
        Loading {
            pager: pager(program, &plan, early.is_some()),
            plan,
            options: options.clone(),
            early,
            deliveries,
            ranges: WeightRanges::new(program),
            disk: None,
            peak_bytes: 0,
        }
    }

    /// Wants everything anew, for another backend.
    pub fn begin_again(&mut self, program: &Program, plan: MemoryPlan, deliveries: Deliveries, backend: &mut Backend) {
        self.pager = pager(program, &plan, self.early.is_some());
        self.plan = plan;
        self.deliveries = deliveries;
        if let Some(disk) = self.disk.clone() {
            backend.set_disk(disk);
        }
    }

    /// The next range to fetch; see [`super::Engine::want`].
    pub fn want(&mut self, program: &Program, backend: &mut Backend) -> Result<Option<SourceRange>> {
        while let Some(action) = self.pager.poll() {
            match action {
                Action::Evict(group) => backend.evict(group),
                Action::Fetch(range) => {
                    backend.allocate(program, range.group, self.plan.placements[range.group])?;
                    self.peak_bytes = self.peak_bytes(backend);
                    return Ok(Some(range));
                }
            }
        }
        Ok(None)
    }

    /// Takes a piece of the source; see [`super::Engine::supply`].
    pub fn supply<E>(
        &mut self,
        program: &Program,
        backend: &mut Backend,
        piece: Piece,
        mut copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if let Some(early) = &mut self.early {
            early.supply(piece.part, piece.offset, piece.length, &mut copy)?;
        }
        for (id, range, source) in self.ranges.within(piece) {
            let group = program[id].group;
            if self.pager.state(group) != State::Fetching {
                continue;
            }
            backend.fill(program, id, range.clone(), |gap, destination| {
                let from = source + (gap.start - range.start);
                copy(from..from + gap.len(), destination)
            })?;
            if backend.resident(group) {
                self.pager.arrived(group);
            }
        }
        Ok(())
    }

    /// Which bytes of a piece another thread needs; see [`super::Engine::deliveries`].
    pub fn deliver(&self, shard: usize, piece: Piece) -> Vec<Range<usize>> {
        self.deliveries.within(shard, &self.ranges, piece)
    }

    /// Sets what reads a part's bytes from disk.
    pub fn set_disk(&mut self, reader: DiskReader, backend: &mut Backend) {
        backend.set_disk(reader.clone());
        self.disk = Some(reader);
    }

    /// A wanted range is on disk; see [`super::Engine::supply_from_disk`].
    pub fn supply_from_disk(&mut self, program: &Program, backend: &mut Backend, range: &SourceRange) -> bool {
        let Some(disk) = self.disk.clone() else { return false };
        let read = |piece: Range<usize>, destination: &mut [u8]| {
            disk(range.part, range.offset + piece.start as u64, destination).then_some(()).ok_or(())
        };
        let piece = Piece { part: range.part, offset: range.offset, length: range.length as usize };
        self.supply(program, backend, piece, read).is_ok()
    }

    /// Lengthens the ring where passes become shorter by that; `computing` is the group that the running pass
    /// is at. See [`super::Engine::measured`].
    pub fn measured(&mut self, program: &Program, backend: &mut Backend, computing: Option<usize>, pace: &Pace) {
        let stays = |group: &usize| self.pager.stays(*group);
        let settled = (0..self.pager.len()).filter(stays).all(|group| self.pager.state(group) == State::Resident);
        let is_fixed = self.plan.ring == 0 || self.options.prefetch_distance.is_some() || !backend.lengthens();
        // In the middle of the layers one of them may be in use.
        let is_amid = computing.is_some_and(|group| group + 1 < self.pager.len());
        if is_fixed || is_amid || !settled {
            return;
        }
        let sizes: Vec<u64> = program.groups.iter().map(|group| group.bytes as u64).collect();
        let given_up = self.plan.lengthen(&sizes, pace);
        self.pager.lengthen(self.plan.ring, &given_up);
        given_up.into_iter().for_each(|group| backend.release(group));
    }

    /// Enters a group that is about to be computed for `tokens`; the group that has to come first, if there is one.
    pub fn lacking(&mut self, program: &Program, group: usize, tokens: &[u32]) -> Option<usize> {
        let is_embedded = self.pager.state(0) == State::Resident;
        if let Some(early) = self.early.as_mut().filter(|_| !is_embedded) {
            if group == 0
                && let Some(is_there) = early.want(program, tokens)
            {
                return (!is_there).then_some(0);
            }
            let is_head = program.is_head(group) && self.pager.state(group) == State::Resident;
            if is_head && early.is_head_s(program) && !self.pager.enter(0) {
                return Some(0);
            }
        } else if let Some(early) = &mut self.early {
            early.clear();
        }
        (!self.pager.enter(group)).then_some(group)
    }

    /// Leaves a group that is about to be computed and enters the next one, if all of them stay in memory.
    pub fn advances(&mut self, program: &Program, group: usize) -> bool {
        // What stays is not freed when it is left.
        let advances = !program.is_head(group) && self.is_complete() && !self.pager.leave(group);
        advances && self.pager.enter(group + 1)
    }

    /// Whether a batch is embedded from the rows that came before the table.
    pub fn embeds_ahead(&self, group: usize) -> bool {
        group == 0 && self.pager.state(0) != State::Resident
    }

    /// The embedding of a batch, from the rows that came before the table.
    pub fn embed_ahead(&self, program: &Program, backend: &mut Backend, batch: &Batch) {
        let early = self.early.as_ref().expect("the first group is entered without it only by what came before it");
        for (id, bytes) in early.vectors() {
            backend.keep(id, bytes);
        }
        let mut values = vec![0.0; program.slots[0]];
        for (row, token) in batch.rows.clone().zip(batch.tokens) {
            early.embed(*token, &mut values);
            backend.set_residual(row, &values);
        }
        backend.share_residual(batch);
    }

    /// Whether every group is in memory, and stays.
    pub fn is_complete(&self) -> bool {
        self.pager.ring() == 0 && (0..self.pager.len()).all(|group| self.pager.state(group) == State::Resident)
    }

    /// Whether some group is kept there.
    pub fn has(&self, placement: Placement) -> bool {
        self.plan.placements.contains(&placement)
    }

    /// Bytes of weights, cache and scratch that are allocated.
    pub fn resident_bytes(&self, backend: &Backend) -> u64 {
        backend.weight_bytes() + backend.state_bytes_held(self.plan.kv_bytes) + self.plan.scratch_bytes
    }

    /// The most that they have been.
    pub fn peak_bytes(&self, backend: &Backend) -> u64 {
        self.peak_bytes.max(self.resident_bytes(backend))
    }
}

/// A pager that fetches every group anew, the embedding last if it can be done without for a while.
fn pager(program: &Program, plan: &MemoryPlan, is_embedding_last: bool) -> Pager {
    let groups = program.groups.iter().enumerate();
    let ranges = groups.map(|(number, group)| group_ranges(program, number, group)).collect();
    Pager::new(ranges, &plan.placements, plan.ring).starting_at(usize::from(is_embedding_last))
}
