//! Which bytes of a weight are there.

use std::ops::Range;

/// A set of byte positions as sorted, disjoint, non-adjacent ranges. Downloads fill a tensor from a few
/// places at once, so there are few.
#[derive(Default)]
pub struct Intervals {
    ranges: Vec<Range<usize>>,
    /// The last byte came and the weight was made ready.
    pub finished: bool,
}

impl Intervals {
    /// Adds a range and gives back its parts that were not there.
    pub fn insert(&mut self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let last = self.ranges.partition_point(|r| r.start <= range.end);
        let mut at = range.start;
        for held in &self.ranges[first..last] {
            if at < held.start {
                gaps.push(at..held.start);
            }
            at = at.max(held.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        if !range.is_empty() {
            let start = self.ranges[first..last].first().map_or(range.start, |r| r.start.min(range.start));
            let end = self.ranges[first..last].last().map_or(range.end, |r| r.end.max(range.end));
            self.ranges.splice(first..last, [start..end]);
        }
        gaps
    }

    /// Whether all of `0..length` is there.
    pub fn covers(&self, length: usize) -> bool {
        matches!(self.ranges.as_slice(), [only] if *only == (0..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_agree_with_a_bitmap() {
        let mut state = 7u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % bound) as usize
        };
        for _ in 0..200 {
            let mut bitmap = [false; 64];
            let mut intervals = Intervals::default();
            for _ in 0..12 {
                let start = random(65);
                let end = start + random(65 - start as u64);
                let gaps: Vec<usize> = intervals.insert(start..end).into_iter().flatten().collect();
                let expected: Vec<usize> = (start..end).filter(|i| !bitmap[*i]).collect();
                assert_eq!(gaps, expected);
                bitmap[start..end].fill(true);
                assert_eq!(intervals.covers(64), bitmap.iter().all(|b| *b));
            }
        }
    }
}
