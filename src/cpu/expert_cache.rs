//! Memory for experts of matrices on disk: those that are used most stay in it, whichever layer they are of.

use super::disk::{Disk, Stage};
use super::memory::AlignedBytes;
use crate::error::Result;
use crate::pager::Popular;
use crate::program::{Program, WEIGHT_ALIGNMENT, WeightId};
use std::ops::Range;

/// How products with experts on disk found them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpertCounters {
    /// Matrices of experts that were in memory when some tokens of a batch chose them.
    pub hits: u64,
    /// Those that were read.
    pub reads: u64,
}

/// The experts of one weight.
#[derive(Clone, Copy)]
struct Stack {
    /// Rows of an expert.
    rows: usize,
    /// The pool that has room for them, and the number of the first among its units.
    pool: usize,
    first: usize,
}

/// How much of a pool there is.
#[derive(Default)]
struct PoolSize {
    /// Bytes of a slot: an expert's, up to the next multiple of the alignment.
    slot_bytes: usize,
    /// Experts that it is for, and room for how many of them.
    units: usize,
    slots: usize,
}

impl PoolSize {
    /// Bytes of so many slots.
    fn bytes_of(&self, slots: usize) -> u64 {
        slots as u64 * self.slot_bytes as u64
    }
}

/// Slots for experts that take as many bytes.
struct Pool {
    popular: Popular,
    /// Each by itself: no allocation of a 32-bit memory has more than 2 GiB.
    slots: Vec<AlignedBytes>,
}

impl Pool {
    fn new(PoolSize { slot_bytes, units, slots }: PoolSize) -> Result<Pool> {
        let memory = (0..slots).map(|_| AlignedBytes::zeroed(slot_bytes));
        Ok(Pool { popular: Popular::new(units, slots), slots: memory.collect::<Result<_>>()? })
    }
}

/// The experts that are in memory.
pub struct ExpertCache {
    /// By weight.
    stacks: Vec<Option<Stack>>,
    pools: Vec<Pool>,
}

impl ExpertCache {
    /// Room for experts of a program, in so many bytes at most.
    pub fn new(program: &Program, bytes: u64) -> Result<ExpertCache> {
        let (stacks, sizes) = layout(program, bytes);
        Ok(ExpertCache { stacks, pools: sizes.into_iter().map(Pool::new).collect::<Result<_>>()? })
    }

    /// Bytes of the experts that it has room for.
    pub fn bytes(&self) -> u64 {
        self.pools.iter().flat_map(|pool| &pool.slots).map(|slot| slot.allocated() as u64).sum()
    }

    /// The rows of an expert, repacked, if it is in memory.
    pub fn expert(&self, id: WeightId, rows: &Range<usize>, row_bytes: usize) -> Option<&[u8]> {
        let stack = self.stacks[id.0 as usize]?;
        let pool = &self.pools[stack.pool];
        let slot = pool.popular.slot(stack.first + rows.start / stack.rows)?;
        debug_assert!(rows.start.is_multiple_of(stack.rows) && rows.len() == stack.rows, "the rows of one expert");
        Some(&pool.slots[slot].as_slice()[..rows.len() * row_bytes])
    }

    /// An expert is about to be multiplied with so many columns. It comes into memory if it is worth that. Whether it
    /// was there.
    pub fn demand(
        &mut self,
        program: &Program,
        id: WeightId,
        expert: usize,
        columns: usize,
        disk: &Disk,
        stage: &mut Stage,
    ) -> bool {
        let Some(stack) = self.stacks[id.0 as usize] else { return false };
        let pool = &mut self.pools[stack.pool];
        let unit = stack.first + expert;
        pool.popular.count(unit, columns);
        if pool.popular.slot(unit).is_some() {
            return true;
        }
        if let Some(slot) = pool.popular.room(unit) {
            let (weight, rows) = (&program[id], expert * stack.rows..(expert + 1) * stack.rows);
            let bytes = rows.len() * (weight.bytes / weight.rows);
            if stage.fill(disk, weight, rows, &mut pool.slots[slot].as_mut_slice()[..bytes]) {
                pool.popular.keep(unit);
            }
        }
        false
    }
}

/// Memory that a cache of experts takes of so many bytes.
pub fn expert_cache_bytes(program: &Program, bytes: u64) -> u64 {
    let (_, sizes) = layout(program, bytes);
    sizes.iter().map(|size| size.bytes_of(size.slots)).sum::<u64>() + policy_bytes(&sizes)
}

/// Memory for knowing which experts are used most, and where they are.
fn policy_bytes(sizes: &[PoolSize]) -> u64 {
    let bytes = |size: &PoolSize| Popular::bytes(size.units, size.units) + size.units * size_of::<AlignedBytes>();
    sizes.iter().map(|size| bytes(size) as u64).sum()
}

/// Bytes of all experts.
pub fn expert_bytes(program: &Program) -> u64 {
    let experts = (0..program.groups.len()).flat_map(|group| program.experts(group));
    experts.map(|(id, _)| program[id].bytes as u64).sum()
}

/// A pool for experts of each size, which have room for the same share of them. No pools where there is hardly room.
fn layout(program: &Program, bytes: u64) -> (Vec<Option<Stack>>, Vec<PoolSize>) {
    let mut stacks = vec![None; program.weights.len()];
    let mut sizes: Vec<PoolSize> = Vec::new();
    for (id, rows) in (0..program.groups.len()).flat_map(|group| program.experts(group)) {
        let weight = &program[id];
        let slot_bytes = (weight.bytes / weight.rows * rows).next_multiple_of(WEIGHT_ALIGNMENT);
        let known = sizes.iter().position(|size| size.slot_bytes == slot_bytes);
        let pool = known.unwrap_or_else(|| {
            sizes.push(PoolSize { slot_bytes, ..PoolSize::default() });
            sizes.len() - 1
        });
        stacks[id.0 as usize] = Some(Stack { rows, pool, first: sizes[pool].units });
        sizes[pool].units += weight.rows / rows;
    }
    let all: u64 = sizes.iter().map(|size| size.bytes_of(size.units)).sum();
    let Some(room) = bytes.checked_sub(policy_bytes(&sizes)).filter(|_| all > 0) else {
        return (vec![None; program.weights.len()], Vec::new());
    };
    for size in &mut sizes {
        size.slots = (size.units as u128 * u128::from(room.min(all)) / u128::from(all)) as usize;
    }
    (stacks, sizes)
}
