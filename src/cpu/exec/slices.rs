//! What one shard has of a slot that the others have the rest of.

use super::super::sizes::slot_rows;
use super::super::team::{Shares, Split, Step};
use super::Cpu;
use crate::exec::Batch;
use crate::program::*;
use std::ops::Range;

impl Cpu {
    /// `slice` = `own` of each run of `run` values of `whole`.
    pub(super) fn narrow(
        &mut self,
        program: &Program,
        whole: Slot,
        slice: Slot,
        run: usize,
        own: Range<usize>,
        batch: &Batch,
    ) {
        let mut taken = std::mem::take(&mut self.slots[slice.0 as usize]);
        let values = self.values(program, whole, batch);
        for (to, from) in taken.chunks_exact_mut(own.len()).zip(values.chunks_exact(run)) {
            to.copy_from_slice(&from[own.clone()]);
        }
        self.slots[slice.0 as usize] = taken;
        self.quantised.take_if(|held| *held == slice);
    }

    /// Puts a shard's slice where it belongs in `whole`.
    pub(super) fn put_slice(
        &mut self,
        program: &Program,
        whole: Slot,
        shares: &Shares,
        shard: usize,
        slice: &[f32],
        batch: &Batch,
    ) {
        let own = shares.of(shard);
        let values = self.values_mut(program, whole, batch);
        for (to, from) in values.chunks_exact_mut(shares.run()).zip(slice.chunks_exact(own.len())) {
            to[own.clone()].copy_from_slice(from);
        }
    }
}

/// Values of the largest slice that a shard gets of another, where so many sequences are computed together.
pub(super) fn stage_values(split: &Split, batch: usize, lanes: usize) -> usize {
    let values = |step: &Step| match step {
        Step::Gather(gather) => {
            let rows = slot_rows(&split.program, gather.whole.0 as usize, batch).max(lanes);
            (0..split.shards).map(|shard| gather.shares.width(shard) * rows).max().unwrap_or(0)
        }
        Step::Op(_) | Step::Narrow { .. } => 0,
    };
    split.steps.iter().flatten().map(values).max().unwrap_or(0)
}
