//! Guesses at the tokens that come next, from the sequence itself: where its last tokens stood before, what
//! followed them then may follow again. One pass through the layers then computes several tokens, and those
//! that were guessed right are kept: the answer is the same to the bit, but weights that have to be read for
//! every pass are read less often.
//!
//! Prompt lookup decoding: <https://github.com/apoorvumang/prompt-lookup-decoding>.

use serde::Serialize;
use std::collections::HashMap;

/// Tokens whose earlier occurrence is looked for.
const LOOKUP: usize = 2;

/// Guesses of the first draft.
const FIRST: usize = 4;

/// Looks guesses up in one sequence, and learns how many are worth their while.
pub struct Drafter {
    /// Where each run of [`LOOKUP`] tokens, by its hash, was followed by something last.
    followers: HashMap<u32, u32>,
    /// Tokens of the sequence whose followers are noted.
    noted: usize,
    /// Guesses of the next draft: twice as many after one that was wholly right, else one more than were right.
    length: usize,
    /// Guesses of the draft under way, and those of them that were right.
    offered: usize,
    right: usize,
    tally: Tally,
}

/// Guesses made and guessed right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub drafted: usize,
    pub accepted: usize,
}

impl Default for Drafter {
    fn default() -> Drafter {
        Drafter {
            followers: HashMap::new(),
            noted: LOOKUP,
            length: FIRST,
            offered: 0,
            right: 0,
            tally: Tally::default(),
        }
    }
}

impl Drafter {
    /// Appends to `draft` what may follow `sequence`: up to `most` tokens. Ends the draft under way.
    pub fn draft(&mut self, sequence: &[u32], most: usize, draft: &mut Vec<u32>) {
        self.judge();
        if most == 0 {
            return;
        }
        for at in self.noted..sequence.len() {
            self.followers.insert(hash_before(sequence, at), at as u32);
        }
        self.noted = self.noted.max(sequence.len());
        if sequence.len() < LOOKUP {
            return;
        }
        let Some(&start) = self.followers.get(&hash_before(sequence, sequence.len())) else { return };
        self.offered = self.length.min(most);
        self.tally.drafted += self.offered;
        // What repeats itself goes on doing so.
        draft.extend(sequence[start as usize..].iter().cycle().take(self.offered));
    }

    /// A guess of the draft under way was right.
    pub fn accept(&mut self) {
        self.right += 1;
        self.tally.accepted += 1;
    }

    /// The sequence goes back to its first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        (self.offered, self.right) = (0, 0);
        self.noted = self.noted.min(length.max(LOOKUP));
        self.followers.retain(|_, at| (*at as usize) < length);
    }

    /// What came of all drafts so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn judge(&mut self) {
        if self.offered > 0 {
            self.length = if self.right == self.offered { 2 * self.length } else { self.right + 1 };
        }
        (self.offered, self.right) = (0, 0);
    }
}

/// A hash of the tokens before place `at`, of which there are enough. Runs that share one cost a wrong guess.
fn hash_before(sequence: &[u32], at: usize) -> u32 {
    sequence[at - LOOKUP..at]
        .iter()
        .fold(0, |hash: u32, token| (hash ^ token).wrapping_mul(0x9e37_79b1).rotate_left(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(drafter: &mut Drafter, sequence: &[u32], most: usize) -> Vec<u32> {
        let mut draft = Vec::new();
        drafter.draft(sequence, most, &mut draft);
        draft
    }

    #[test]
    fn what_followed_before_is_guessed_again() {
        let mut drafter = Drafter::default();
        assert!(guesses(&mut drafter, &[1, 2, 3, 4, 1], 8).is_empty());
        assert_eq!(guesses(&mut drafter, &[1, 2, 3, 4, 1, 2], 8), [3, 4, 1, 2]);
        // The latest occurrence counts.
        assert_eq!(guesses(&mut drafter, &[1, 2, 3, 4, 1, 2, 9, 1, 2], 2), [9]);
        assert!(guesses(&mut Drafter::default(), &[], 8).is_empty());
        assert!(guesses(&mut Drafter::default(), &[7], 8).is_empty());
        assert_eq!(guesses(&mut Drafter::default(), &[7, 7, 7], 3), [7, 7, 7]);
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_shrink_when_they_are_not() {
        let mut drafter = Drafter::default();
        let sequence: Vec<u32> = (0..40).chain(0..2).collect();
        assert_eq!(guesses(&mut drafter, &sequence, 30).len(), FIRST);
        (0..FIRST).for_each(|_| drafter.accept());
        assert_eq!(guesses(&mut drafter, &sequence, 30).len(), 2 * FIRST);
        drafter.accept();
        assert_eq!(guesses(&mut drafter, &sequence, 30).len(), 2);
        assert_eq!(guesses(&mut drafter, &sequence, 30).len(), 1);
        assert_eq!(guesses(&mut drafter, &sequence, 0).len(), 0);
        assert_eq!(drafter.tally(), Tally { drafted: FIRST + 2 * FIRST + 2 + 1, accepted: FIRST + 1 });
    }

    #[test]
    fn a_sequence_that_went_back_forgets_what_followed() {
        let mut drafter = Drafter::default();
        assert_eq!(guesses(&mut drafter, &[1, 2, 3, 1, 2], 1), [3]);
        drafter.truncate(2);
        assert_eq!(guesses(&mut drafter, &[1, 2, 5, 1, 2], 1), [5]);
    }
}
