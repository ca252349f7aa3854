//! Where in the source each weight lies.

use crate::program::{Program, Weight, WeightId};
use std::ops::Range;

/// Where bytes of the source come from: so many of a part, from an offset on.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub part: u16,
    pub offset: u64,
    pub length: usize,
}

/// The weights in the order of their bytes in the source.
pub struct WeightRanges(Vec<WeightRange>);

/// A weight's bytes in the source.
struct WeightRange {
    part: u16,
    start: u64,
    end: u64,
    weight: WeightId,
}

impl WeightRanges {
    /// The weights of a program.
    pub fn new(program: &Program) -> WeightRanges {
        let range = |(index, w): (usize, &Weight)| WeightRange {
            part: w.part,
            start: w.file_offset,
            end: w.file_offset + w.bytes as u64,
            weight: WeightId(index as u32),
        };
        let mut ranges: Vec<WeightRange> = program.weights.iter().enumerate().map(range).collect();
        ranges.sort_unstable_by_key(|p| (p.part, p.start));
        WeightRanges(ranges)
    }

    /// The weights of which a piece has bytes: which of the weight's bytes, and where in the piece they begin.
    pub fn within(&self, piece: Piece) -> impl Iterator<Item = (WeightId, Range<usize>, usize)> + '_ {
        let Piece { part, offset, length } = piece;
        let end = offset.saturating_add(length as u64);
        let first = self.0.partition_point(|p| (p.part, p.end) <= (part, offset));
        self.0[first..].iter().take_while(move |p| p.part == part && p.start < end).map(move |held| {
            let within = offset.max(held.start) - held.start..end.min(held.end) - held.start;
            // A piece is in memory already, so its part of a weight is a usize.
            let range = within.start as usize..within.end as usize;
            (held.weight, range, (held.start + within.start - offset) as usize)
        })
    }
}
