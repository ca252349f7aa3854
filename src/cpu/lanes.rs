//! Room for several sequences: each has keys, values and states of its own, a *lane*, while weights and activations serve
//! all of them.

use super::memory::grow;
use super::sizes::is_single;
use super::{Cpu, Fixed, KvCache};
use crate::error::Result;
use crate::program::{Program, StateId};

/// A copy of what one lane keeps, for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The lane that has it.
    pub from: usize,
    /// The lane that gets it.
    pub to: usize,
    /// Of how many positions it is.
    pub positions: usize,
}

/// What is kept of one sequence.
pub struct Lane {
    pub cache: KvCache,
    pub fixed: Fixed,
}

impl Lane {
    /// Room for a sequence of up to `context` tokens.
    pub fn new(program: &Program, context: usize) -> Result<Lane> {
        Ok(Lane { cache: KvCache::new(&program.states, context)?, fixed: Fixed::new(program)? })
    }
}

impl Cpu {
    /// Bytes that another lane needs beside its cache: copies of its states, and a row of logits.
    pub fn lane_bytes(program: &Program) -> u64 {
        let single = (1..program.slots.len()).filter(|slot| is_single(program, *slot));
        Fixed::copies_bytes(program) + single.map(|slot| 4 * program.slots[slot] as u64).sum::<u64>()
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Sees that there are so many lanes. What is computed stays.
    pub fn open_lanes(&mut self, program: &Program, count: usize) -> Result<()> {
        for slot in 1..self.slots.len() {
            if is_single(program, slot) {
                grow(&mut self.slots[slot], program.slots[slot].saturating_mul(count))?;
            }
        }
        while self.lanes.len() < count {
            let lane = Lane::new(program, self.context)?;
            self.lanes.push(lane);
        }
        Ok(())
    }

    /// Lets a lane have what another one keeps of its first positions; there is one of either number.
    pub fn fork(&mut self, fork: Fork) -> Result<()> {
        let Fork { from, to, positions } = fork;
        let Ok([from, to]) = self.lanes.get_disjoint_mut([from, to]) else { return Ok(()) };
        to.cache.copy(&from.cache, positions)?;
        to.fixed.take_after(&from.fixed);
        Ok(())
    }

    /// From now on the states that are asked for, and batches of one sequence, are of this lane.
    pub fn select(&mut self, lane: usize) {
        self.lane = lane;
    }

    /// The lane that is selected.
    pub fn lane(&mut self) -> &mut Lane {
        &mut self.lanes[self.lane]
    }

    /// The number of the lane that is selected.
    pub fn selected(&self) -> usize {
        self.lane
    }

    /// Bytes of all lanes' keys and values, as far as there is room for them.
    pub fn held_bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.cache.held_bytes()).sum()
    }

    /// The bytes of a state.
    pub fn state_bytes(&mut self, state: StateId) -> &mut [u8] {
        let lane = self.lane();
        match lane.fixed.has(state) {
            true => lane.fixed.bytes_mut(state),
            false => lane.cache.bytes_mut(state),
        }
    }

    /// The cache of keys and values.
    pub fn cache(&self) -> &KvCache {
        &self.lanes[self.lane].cache
    }

    /// The same, to be changed.
    pub fn cache_mut(&mut self) -> &mut KvCache {
        &mut self.lane().cache
    }
}
