//! Pieces of a saved state: where they lie in memory.

use super::Layout;
use crate::program::{State, StateId};
use std::ops::Range;

/// Bytes of a state that are saved and taken up together at most. What is on the way is in memory twice.
pub const PIECE_BYTES: usize = 1 << 20;

/// Consecutive bytes of a piece that lie together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of the spans of [`Layout::spans`] they are in.
    pub span: usize,
    /// Where in that span.
    pub within: Range<usize>,
    /// Where in the piece.
    pub at: usize,
}

impl Layout {
    /// The parts of a piece of a state's first positions: `piece` is a range of the bytes of all its spans, which
    /// `spans` are.
    pub fn parts(spans: &[Range<usize>], piece: Range<usize>) -> impl Iterator<Item = Part> {
        let mut start = 0;
        spans.iter().enumerate().filter_map(move |(span, range)| {
            let (first, end) = (start, start + range.len());
            start = end;
            let (from, to) = (piece.start.max(first), piece.end.min(end));
            (from < to).then(|| Part { span, within: from - first..to - first, at: from - piece.start })
        })
    }

    /// Heads of a state's keys, and as many of its values: each is a span of its own.
    pub fn heads(&self, state: StateId) -> usize {
        match self.states[state.0 as usize] {
            State::Kv(kv) => kv.heads,
            State::Conv { .. } | State::Recurrent { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_cover_every_span_once() {
        let spans = [10..24, 80..84, 160..196];
        let all: Vec<usize> = spans.iter().cloned().flatten().collect();
        for size in 1..=all.len() + 1 {
            let mut found = Vec::new();
            for from in (0..all.len()).step_by(size) {
                let to = all.len().min(from + size);
                for part in Layout::parts(&spans, from..to) {
                    assert_eq!(part.at, found.len() - from, "parts follow one another");
                    let start = spans[part.span].start;
                    found.extend(start + part.within.start..start + part.within.end);
                }
            }
            assert_eq!(found, all, "in pieces of {size}");
        }
    }
}
