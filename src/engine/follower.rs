//! The other threads of an engine on the CPU: each has a part of the model and computes what the first one, the
//! engine itself, orders.

use super::weight_ranges::{Piece, WeightRanges};
use crate::cpu::team::{self, Split};
use crate::cpu::{Order, Peers, Shard};
use crate::error::Result;
use crate::exec::Poll;
use crate::pager::Placement;
use crate::program::Program;
use std::ops::Range;

/// One of the other threads' part of a model.
pub struct Follower {
    program: Program,
    ranges: WeightRanges,
    shard: Shard,
}

impl Follower {
    /// Shard number `shard` of `shards`, with room for its weights and for so many lanes, and with these scales of adapters at first.
    pub(super) fn new(
        program: Program,
        context: usize,
        [shard, shards]: [usize; 2],
        lanes: usize,
        scales: &[f32],
    ) -> Result<Follower> {
        let mut follower = Follower {
            ranges: WeightRanges::new(&program),
            shard: Shard::new(&program, context, shard, shards, lanes)?,
            program,
        };
        follower.shard.set_scales(scales);
        for group in 0..follower.program.groups.len() {
            follower.shard.allocate(group, Placement::Pinned)?;
        }
        Ok(follower)
    }

    /// Sets the way to the others.
    pub fn set_peers(&mut self, peers: Box<dyn Peers>) {
        self.shard.set_peers(peers);
    }

    /// Takes a piece of the source; see [`super::Engine::supply`].
    pub fn supply<E>(
        &mut self,
        part: u16,
        offset: u64,
        length: usize,
        mut copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for (id, range, source) in self.ranges.within(Piece { part, offset, length }) {
            self.shard.fill(&self.program, id, range.clone(), |gap, destination| {
                let from = source + (gap.start - range.start);
                copy(from..from + gap.len(), destination)
            })?;
        }
        Ok(())
    }

    /// Begins what the engine ordered. What came before is done.
    pub fn follow(&mut self, order: &Order) -> Result<()> {
        self.shard.follow(order)
    }

    /// Goes on with the order, as far as that goes without the others.
    pub fn poll(&mut self) -> Poll {
        self.shard.poll()
    }
}

/// What each of the other threads needs of the weights, by its number less one and by weight.
#[derive(Default)]
pub struct Deliveries(Vec<Vec<Vec<team::Piece>>>);

impl Deliveries {
    /// Those of a program on so many threads.
    pub fn new(program: &Program, threads: usize) -> Deliveries {
        Deliveries((1..threads).map(|shard| Split::new(program, shard, threads).pieces).collect())
    }

    /// Which bytes of a piece of the source thread number `shard` needs: in their order, none twice.
    pub fn within(&self, shard: usize, ranges: &WeightRanges, piece: Piece) -> Vec<Range<usize>> {
        let mut needed: Vec<Range<usize>> = Vec::new();
        let Some(pieces) = shard.checked_sub(1).and_then(|index| self.0.get(index)) else { return needed };
        for (id, range, source) in ranges.within(piece) {
            for held in &pieces[id.0 as usize] {
                let bytes = held.within(&range).map(|(bytes, _)| bytes);
                needed.extend(bytes.map(|b| source + b.start - range.start..source + b.end - range.start));
            }
        }
        needed.sort_unstable_by_key(|range| (range.start, range.end));
        needed.dedup_by(|next, last| {
            let joins = next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
        needed
    }
}
