//! Which bytes of a weight are there.

use std::ops::Range;

/// A set of byte positions as sorted, disjoint, non-adjacent ranges. Downloads fill a tensor from a few
/// places at once, so there are few.
#[derive(Default)]
pub struct Intervals {
    ranges: Vec<Range<usize>>,
}

impl Intervals {
    /// The parts of a range that are not there.
    pub fn gaps(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for held in &self.ranges[self.touched(range)] {
            if at < held.start {
                gaps.push(at..held.start);
            }
            at = at.max(held.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let touched = self.touched(&range);
        let held = &self.ranges[touched.clone()];
        let start = held.first().map_or(range.start, |r| r.start.min(range.start));
        let end = held.last().map_or(range.end, |r| r.end.max(range.end));
        self.ranges.splice(touched, std::iter::once(start..end));
    }

    /// The held ranges that a range overlaps or touches.
    fn touched(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.ranges.partition_point(|r| r.end < range.start);
        first..self.ranges.partition_point(|r| r.start <= range.end).max(first)
    }

    /// How many bytes are there from the first on.
    pub fn start(&self) -> usize {
        self.ranges.first().filter(|r| r.start == 0).map_or(0, |r| r.end)
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
                let gaps: Vec<usize> = intervals.gaps(&(start..end)).into_iter().flatten().collect();
                intervals.insert(start..end);
                let expected: Vec<usize> = (start..end).filter(|i| !bitmap[*i]).collect();
                assert_eq!(gaps, expected);
                bitmap[start..end].fill(true);
                assert_eq!(intervals.start(), bitmap.iter().take_while(|b| **b).count());
            }
        }
    }
}
