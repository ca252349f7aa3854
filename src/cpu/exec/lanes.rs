//! The lanes of a shard, and which of the tokens that were computed together is looked at.

use super::{Groups, Order, Shard};
use crate::cpu::Fork;
use crate::error::Result;
use std::ops::Range;

impl Shard {
    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.cpu.lanes()
    }

    /// Sees that there are so many lanes.
    pub fn open_lanes(&mut self, count: usize) -> Result<()> {
        self.cpu.open_lanes(&self.split.program, count)
    }

    /// From now on the states that are asked for, and batches of one sequence, are of this lane.
    pub fn select(&mut self, lane: usize) {
        self.cpu.select(lane);
    }

    /// Lets the selected lane have what another one keeps of its first positions, in all shards. False where there is no
    /// memory for it, or where what is under way may still change either of them.
    pub fn fork(&mut self, from: usize, positions: usize) -> bool {
        let fork = Fork { from, to: self.lane(), positions };
        if self.is_moving() || self.runs_in(fork.to) || self.cpu.fork(fork).is_err() {
            return false;
        }
        if let Some(peers) = &mut self.peers {
            peers.order(&Order::Fork(fork));
        }
        true
    }

    /// Whether a run is under way that has tokens of this lane. Of one that was dropped nobody waits for the end.
    fn runs_in(&self, lane: usize) -> bool {
        let Groups { members, lane: own, .. } = &self.run.order;
        let has_lane = members.iter().any(|member| member.lane == lane) || members.is_empty() && *own == lane;
        self.has_steps() && has_lane
    }

    /// The lane that is selected.
    pub fn lane(&self) -> usize {
        self.cpu.selected()
    }

    /// From now on the logits are those of this token of the batch that went through the head last.
    pub fn show(&mut self, token: usize) {
        self.shown = token;
    }

    /// The logits of the last token through the head, or of the one that is shown.
    pub fn logits(&self) -> &[f32] {
        self.all_logits(self.shown..self.shown + 1)
    }

    /// Those of some of the tokens of the batch that went through the head last.
    pub fn all_logits(&self, tokens: Range<usize>) -> &[f32] {
        self.cpu.logits(&self.split.program, tokens)
    }

    /// The same as [`Shard::logits`], for the sampler to work in.
    pub fn logits_mut(&mut self) -> &mut [f32] {
        self.cpu.logits_mut(&self.split.program, self.shown)
    }
}
