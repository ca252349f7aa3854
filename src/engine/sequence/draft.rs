//! Guesses at the tokens that come next, from what the engine has read and written so far: where the last
//! tokens stood before, what followed them then may follow again. One pass through the layers then computes
//! several tokens, and those that were guessed right are kept: the answer is the same to the bit, but weights
//! that have to be read for every pass are read less often.
//!
//! Prompt lookup decoding: <https://github.com/apoorvumang/prompt-lookup-decoding>. As in llama.cpp's n-gram
//! cache (`common/ngram-cache.h`), runs of several lengths are looked up, the longest first, and what was
//! learned outlives the request.

use serde::Serialize;
use std::ops::{AddAssign, Range};

/// Lengths of the runs whose followers are kept, longest first: a long one finds the place in a text that
/// is said again, a short one what usually comes next.
const RUNS: [usize; 4] = [5, 3, 2, 1];

/// Followers that are kept. New ones take the buckets of old ones.
const FOLLOWERS: usize = 1 << 15;

/// Bytes of the followers.
pub const TABLE_BYTES: u64 = FOLLOWERS as u64 * size_of::<Follower>() as u64;

/// What came after a run of tokens last.
#[derive(Clone, Copy, Default)]
struct Follower {
    /// A hash of the run, never 0: 0 is an empty bucket.
    run: u32,
    token: u32,
}

/// Learns what follows what, and how many guesses are worth their while.
#[derive(Default)]
pub struct Drafter {
    /// Followers by the hash of their run; empty until the first draft.
    followers: Vec<Follower>,
    /// Tokens of the present sequence that are among the followers.
    noted: usize,
    /// Guesses of the next draft: twice as many after one that was wholly right, else one more than were right.
    length: usize,
    /// Guesses of the draft under way, and those of them that were right.
    offered: usize,
    right: usize,
    tally: Tally,
}

/// Tokens that were guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Tally {
    /// All of them.
    pub drafted: usize,
    /// Those that were right.
    pub accepted: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.drafted += more.drafted;
        self.accepted += more.accepted;
    }
}

impl Drafter {
    /// Another sequence begins. What was learned stays.
    pub fn begin(&mut self) {
        self.truncate(0);
        self.tally = Tally::default();
    }

    /// The sequence goes back to its first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        (self.noted, self.offered, self.right) = (self.noted.min(length), 0, 0);
    }

    /// Appends to `draft` what may follow `sequence`, as many tokens as `count` allows and experience suggests.
    /// Ends the draft under way.
    pub fn draft(&mut self, sequence: &[u32], count: Range<usize>, draft: &mut Vec<u32>) {
        self.judge();
        if count.is_empty() {
            return;
        }
        if self.followers.is_empty() {
            self.followers.resize(FOLLOWERS, Follower::default());
        }
        for at in self.noted..sequence.len() {
            for run in runs(&sequence[..at]) {
                self.followers[bucket(run)] = Follower { run, token: sequence[at] };
            }
        }
        self.noted = sequence.len();
        let (first, most) = (draft.len(), self.length.clamp(count.start, count.end - 1));
        let mut last = [0; RUNS[0]];
        let mut known = sequence.len().min(last.len());
        last[RUNS[0] - known..].copy_from_slice(&sequence[sequence.len() - known..]);
        while draft.len() - first < most {
            let Some(token) = runs(&last[RUNS[0] - known..]).find_map(|run| self.follower(run)) else { break };
            draft.push(token);
            last.rotate_left(1);
            last[RUNS[0] - 1] = token;
            known = last.len().min(known + 1);
        }
        self.offered = draft.len() - first;
        self.tally.drafted += self.offered;
    }

    /// The last `count` guesses of the draft under way are not tried.
    pub fn withdraw(&mut self, count: usize) {
        self.offered -= count;
        self.tally.drafted -= count;
    }

    /// A guess of the draft under way was right.
    pub fn accept(&mut self) {
        self.right += 1;
        self.tally.accepted += 1;
    }

    /// What came of all drafts since [`Drafter::begin`].
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn follower(&self, run: u32) -> Option<u32> {
        Some(self.followers[bucket(run)]).filter(|follower| follower.run == run).map(|follower| follower.token)
    }

    fn judge(&mut self) {
        if self.offered > 0 {
            self.length = if self.right == self.offered { 2 * self.right } else { self.right + 1 };
        }
        (self.offered, self.right) = (0, 0);
    }
}

/// Hashes of the runs that end `sequence`, longest first. Runs that share one cost a wrong guess.
fn runs(sequence: &[u32]) -> impl Iterator<Item = u32> + '_ {
    RUNS.into_iter().filter(|length| *length <= sequence.len()).map(|length| {
        let run = &sequence[sequence.len() - length..];
        let mix = |hash: u32, token: &u32| (hash ^ token).wrapping_mul(0x9e37_79b1).rotate_left(15);
        run.iter().fold(length as u32, mix).wrapping_mul(0x85eb_ca6b).max(1)
    })
}

/// Where a run's follower is kept.
fn bucket(run: u32) -> usize {
    (run >> (u32::BITS - FOLLOWERS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses of a draft whose length is not limited by experience.
    fn guesses(drafter: &mut Drafter, sequence: &[u32], most: usize) -> Vec<u32> {
        let mut draft = Vec::new();
        drafter.draft(sequence, most..most + 1, &mut draft);
        draft
    }

    #[test]
    fn what_followed_before_is_guessed_again() {
        let mut drafter = Drafter::default();
        assert!(guesses(&mut drafter, &[1, 2, 3, 4], 8).is_empty(), "nothing followed 4");
        assert_eq!(guesses(&mut drafter, &[1, 2, 3, 4, 1, 2], 7), [3, 4, 1, 2, 3, 4, 1], "and so on");
        assert_eq!(guesses(&mut drafter, &[1, 2, 3, 4, 1, 2, 9, 1, 2], 1), [9], "the latest occurrence counts");
        assert!(guesses(&mut Drafter::default(), &[], 8).is_empty());
        assert!(guesses(&mut Drafter::default(), &[7], 8).is_empty());
        assert_eq!(guesses(&mut Drafter::default(), &[7, 7], 3), [7, 7, 7]);
    }

    #[test]
    fn longer_runs_count_more() {
        // After 5 came 6 last, but 8 after 4 5, and 9 after 1 2 3 4 5.
        let said = [1, 2, 3, 4, 5, 9, 0, 4, 5, 8, 0, 5, 6, 0];
        for (tail, guess) in [(&[1, 2, 3, 4, 5][..], 9), (&[7, 4, 5], 8), (&[7, 7, 5], 6)] {
            assert_eq!(guesses(&mut Drafter::default(), &[&said[..], tail].concat(), 1), [guess], "after {tail:?}");
        }
    }

    #[test]
    fn what_was_learned_outlives_the_sequence() {
        let mut drafter = Drafter::default();
        guesses(&mut drafter, &[1, 2, 3, 4], 1);
        drafter.begin();
        assert_eq!(guesses(&mut drafter, &[9, 1, 2], 2), [3, 4]);
        // The end of one sequence and the beginning of the next are no run.
        drafter.begin();
        assert!(guesses(&mut drafter, &[4], 1).is_empty());
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_shrink_when_they_are_not() {
        let mut drafter = Drafter::default();
        let sequence: Vec<u32> = (0..40).chain(0..2).collect();
        let mut draft = |right: usize, count: Range<usize>| {
            let mut draft = Vec::new();
            drafter.draft(&sequence, count, &mut draft);
            (0..right).for_each(|_| drafter.accept());
            draft.len()
        };
        assert_eq!([draft(3, 3..16), draft(6, 3..16), draft(2, 3..16)], [3, 6, 12]);
        assert_eq!([draft(0, 3..16), draft(0, 1..16), draft(0, 1..16)], [3, 1, 1]);
        assert_eq!([draft(0, 0..0), draft(0, 1..1)], [0, 0]);
        assert_eq!(drafter.tally(), Tally { drafted: 3 + 6 + 12 + 3 + 1 + 1, accepted: 11 });
        drafter.begin();
        assert_eq!(drafter.tally(), Tally::default());
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_stays_right() {
        let mut drafter = Drafter::default();
        let mut state = 1u32;
        let mut sequence: Vec<u32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 12
        })
        .take(4 * FOLLOWERS)
        .collect();
        let recent = sequence[sequence.len() - 100..].to_vec();
        sequence.extend(&recent[..50]);
        assert_eq!(guesses(&mut drafter, &sequence, 10), recent[50..60]);
    }
}
