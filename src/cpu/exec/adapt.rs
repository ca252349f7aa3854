//! How much of each adapter there is in what shards compute: the same for all of them.

use super::{Cpu, Order, Shard};
use crate::program::{AdapterId, Op, Program};

impl Shard {
    /// Sets how much of each adapter there is in what is computed from now on, by all shards. What a run that was dropped
    /// still makes means nothing.
    pub fn adapt(&mut self, scales: &[f32]) {
        if let Some(peers) = &mut self.peers {
            peers.order(&Order::Adapt(scales.to_vec()));
        }
        self.set_scales(scales);
    }

    /// The same of this shard alone.
    pub fn set_scales(&mut self, scales: &[f32]) {
        self.cpu.scales.copy_from_slice(scales);
    }
}

impl Cpu {
    /// Whether an op is a part of an adapter that changes nothing now.
    pub(super) fn passes_over(&self, program: &Program, op: &Op) -> bool {
        let is_idle = |adapter: AdapterId| self.scales[adapter.0 as usize] == 0.0;
        !self.scales.is_empty() && program.adapter(op).is_some_and(is_idle)
    }
}
