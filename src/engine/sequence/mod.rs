//! A sequence of tokens that is being computed: how far it has come, and what may follow.

mod draft;
mod saved;

use super::forward::Forward;
use crate::state::{COPIES, Rewind};

pub use draft::{Drafter, TABLE_BYTES, Tally};
pub use saved::{Restoring, SEED, Saving, Unit, Used, damaged, fold};

/// One sequence.
#[derive(Default)]
pub struct Sequence {
    /// The tokens that the state holds.
    tokens: Vec<u32>,
    /// Positions that the state has taken in: more than those of `tokens` while a pass is under way, and after one
    /// that was dropped or whose guesses were wrong.
    reached: usize,
    /// It is of a text that may go on: not of an input that was embedded or scored.
    pub goes_on: bool,
    /// How much of each adapter the state was computed with.
    pub scales: Vec<f32>,
    /// How far back the state can go.
    rewind: Rewind,
    /// The positions of the copies of its state.
    copies: [Option<usize>; COPIES],
    /// The pass under way.
    pub pass: Option<Forward>,
    /// The pass after the one under way was sent already.
    pub is_sent_ahead: bool,
    pub drafter: Drafter,
    /// What was written of it so far, while it is saved.
    pub saving: Option<Saving>,
    /// What is to take its place, while it is read.
    pub restoring: Option<Restoring>,
}

impl Sequence {
    /// An empty sequence with room for `context` tokens, whose state goes back as far as that, and with these scales of
    /// adapters.
    pub fn new(context: usize, rewind: Rewind, scales: Vec<f32>) -> Sequence {
        Sequence { tokens: Vec::with_capacity(context), rewind, scales, ..Sequence::default() }
    }

    /// Another one, of the same model, with nothing in it yet.
    pub fn sibling(&self, context: usize) -> Sequence {
        Sequence::new(context, self.rewind, self.scales.clone())
    }

    /// The tokens that the state holds.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Length of the beginning that it shares with other tokens.
    pub fn common(&self, tokens: &[u32]) -> usize {
        self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }

    /// How many of these tokens need not be computed again, with these scales of adapters, by what goes on from it.
    pub fn holds(&self, tokens: &[u32], scales: &[f32]) -> usize {
        match self.scales == scales {
            true => self.rewind.kept(self.common(tokens), self.reached, self.copies),
            false => 0,
        }
    }

    /// How many of its tokens a copy of it needs that is to hold what it holds of a text, as long as `common`: a state that
    /// goes back to copies of itself only is taken as it is.
    pub fn copied_with(&self, common: usize) -> usize {
        if self.rewinds_anywhere() { common } else { self.tokens.len() }
    }

    /// Becomes a copy of another sequence's first tokens ([`Sequence::copied_with`]), whose state is in place.
    pub fn take_after(&mut self, other: &Sequence, tokens: usize) {
        self.take_up(other.tokens[..tokens].iter().copied());
        if !other.rewinds_anywhere() {
            (self.reached, self.copies) = (other.reached, other.copies);
        }
        self.scales.clone_from(&other.scales);
        self.goes_on = other.goes_on;
    }

    /// Whether its state can go back to any position.
    pub fn rewinds_anywhere(&self) -> bool {
        self.rewind == Rewind::Anywhere
    }

    /// Whether keys and values that would have to be taken back are to be overwritten, for tests.
    pub fn forgets(&self) -> bool {
        matches!(self.rewind, Rewind::Snapshots { .. } | Rewind::Nowhere)
    }

    /// From now on the state goes back no further than this.
    pub fn limit_rewind(&mut self, rewind: Rewind) {
        self.rewind = rewind;
    }

    /// Goes back to the first `to` tokens, or as near as the state can. How many it still holds, as what comes after
    /// them has to be computed again; and the copy to put in place of the state, if it takes one.
    pub fn rewind(&mut self, to: usize) -> (usize, Option<usize>) {
        self.pass = None;
        let wanted = to.min(self.tokens.len());
        let kept = self.rewind.kept(wanted, self.reached, self.copies);
        let copy = match self.rewind {
            Rewind::Copies if kept != self.reached => self.copies.iter().position(|copy| *copy == Some(kept)),
            _ => None,
        };
        self.tokens.truncate(kept);
        self.reached = kept;
        self.copies.iter_mut().for_each(|copy| *copy = copy.filter(|at| *at <= kept));
        (kept, copy)
    }

    /// A pass begins where the tokens end.
    pub fn begin_pass(&mut self, pass: Forward) {
        self.reached = self.reached.max(pass.end());
        if let Some((copy, _)) = pass.copy() {
            self.copies[copy] = None;
        }
        self.pass = Some(pass);
    }

    /// A pass went through every layer: the copy that it made is whole.
    pub fn copied(&mut self, (copy, position): (usize, usize)) {
        self.copies[copy] = Some(position);
    }

    /// A pass that was sent ahead takes in the position after those of the one under way.
    pub fn sent_ahead(&mut self) {
        self.is_sent_ahead = true;
        self.reached += 1;
    }

    /// These tokens are computed.
    pub fn advance(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Another sequence, whose state is in place. How many tokens it has.
    pub fn take_up(&mut self, tokens: impl IntoIterator<Item = u32>) -> usize {
        self.rewind(0);
        self.copies = [None; COPIES];
        self.tokens.extend(tokens);
        self.reached = self.tokens.len();
        self.reached
    }

    /// Another device knows nothing of it: the pass under way begins again, from the first token.
    pub fn begin_again(&mut self) {
        let pass = self.pass.take().map(|pass| pass.replay(&self.tokens));
        self.tokens.clear();
        (self.saving, self.restoring) = (None, None);
        self.copies = [None; COPIES];
        (self.reached, self.is_sent_ahead) = (0, false);
        if let Some(pass) = pass {
            self.begin_pass(pass);
        }
    }
}
