//! Which groups stay, and how many slots the others pass through.

/// How fast a source and the computation were, in any one unit of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// From asking for bytes to the first of them.
    pub latency: f64,
    /// For each byte from then on, however many requests share the way.
    pub per_byte: f64,
    /// The computation of one group.
    pub compute: f64,
}

impl Pace {
    /// The time of a pass over `groups`, of which `passing`, of `bytes` each, go through a ring of `slots`.
    ///
    /// Slots work side by side: each waits for its bytes to begin, takes them, and is computed. Together
    /// they are no faster than the source, nor is the pass faster than the computation. Where pinned groups
    /// lie evenly among the others, the source is busy while they are computed, so that the slower of the
    /// two is what a pass takes.
    pub fn pass(&self, groups: usize, passing: usize, bytes: u64, slots: usize) -> f64 {
        let transfer = bytes as f64 * self.per_byte;
        let each = transfer.max((self.latency + transfer + self.compute) / slots as f64);
        (groups as f64 * self.compute).max(passing as f64 * each)
    }
}

/// Which of groups of these sizes stay in `room` bytes: as many as fit, evenly among the others, so that the
/// ring has time to fill wherever the computation is.
pub fn spread(sizes: &[u64], room: u64) -> Vec<bool> {
    let evenly = |count: usize| {
        let mut stays = vec![false; sizes.len()];
        (0..count).for_each(|i| stays[(2 * i + 1) * sizes.len() / (2 * count)] = true);
        stays
    };
    let bytes = |stays: &[bool]| -> u64 { sizes.iter().zip(stays).filter(|(_, s)| **s).map(|(size, _)| size).sum() };
    let mut stays =
        (0..=sizes.len()).rev().map(evenly).find(|stays| bytes(stays) <= room).expect("nothing takes no room");
    // Small ones may fit what is left.
    let mut left = room - bytes(&stays);
    for (size, stays) in sizes.iter().zip(&mut stays).filter(|(_, stays)| !**stays) {
        if *size <= left {
            left -= size;
            *stays = true;
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_lies_evenly_and_fits() {
        for count in 1..40 {
            for room in 0..=count as u64 {
                let stays = spread(&vec![1; count], room);
                assert_eq!(stays.iter().filter(|s| **s).count() as u64, room);
                let widest = if room == 0 { count } else { count.div_ceil(room as usize) };
                assert!(stays.split(|s| *s).all(|passing| passing.len() <= widest), "{room} of {count}: {stays:?}");
            }
        }
        // Of groups that differ, no other one would fit.
        let sizes = [5, 9, 5, 9, 5, 9, 2];
        for room in 0..50 {
            let stays = spread(&sizes, room);
            let left = room - sizes.iter().zip(&stays).filter(|(_, s)| **s).map(|(size, _)| size).sum::<u64>();
            assert!(sizes.iter().zip(&stays).all(|(size, stays)| *stays || *size > left));
        }
    }

    #[test]
    fn a_longer_ring_helps_against_latency_alone() {
        let pace = |latency, per_byte, compute| Pace { latency, per_byte, compute };
        // Answers come late: more requests at a time.
        assert!(pace(100.0, 1.0, 1.0).pass(20, 11, 10, 3) < pace(100.0, 1.0, 1.0).pass(20, 10, 10, 2));
        // Bytes come slowly: every group that passes costs its transfer.
        assert!(pace(1.0, 1.0, 1.0).pass(20, 11, 10, 3) > pace(1.0, 1.0, 1.0).pass(20, 10, 10, 2));
        // The computation is slower than both: nothing to gain.
        assert_eq!(pace(1.0, 1.0, 50.0).pass(20, 11, 10, 3), pace(1.0, 1.0, 50.0).pass(20, 10, 10, 2));
    }
}
