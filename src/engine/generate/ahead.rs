//! The pass of a token that was chosen, of guesses at those after it, and what is sent off before it is known.

use super::Text;
use crate::engine::Engine;
use crate::engine::forward::Output;
use crate::error::Result;
use crate::pager::Placement;
use std::ops::{Range, RangeInclusive};

/// Guesses of a pass where layers are fetched for it, least and most: their transfer takes longer than any
/// computation.
const GUESSES_FETCHED: RangeInclusive<usize> = 3..=15;

/// The same where layers are read from disk: with the chosen token at most one tile of the kernels' columns.
const GUESSES_ON_DISK: RangeInclusive<usize> = 1..=3;

impl Engine {
    /// Sends off the next token's pass while the device chooses that token, if there will be such a pass. One
    /// that turns out not to be wanted is dropped: what it wrote to the cache lies beyond the sequence.
    pub(super) fn send_ahead(&mut self, text: &mut Text) -> Result<()> {
        let position = text.history.len();
        let chosen = text.generated() + 1;
        let goes_on = position + 1 < self.opened.config.context
            && text.params.max_tokens.is_none_or(|most| chosen < most as usize);
        if self.sequence.is_sent_ahead || !goes_on || !self.loading.is_complete() || !self.is_chosen_at(position) {
            return Ok(());
        }
        if let Some(draw) = text.sampler.draw_elsewhere(1)
            && self.compute.backend.run_ahead(&self.opened.program, position, draw)?
        {
            self.sequence.sent_ahead();
        }
        Ok(())
    }

    /// Drops a pass that was sent ahead.
    pub(in crate::engine) fn drop_ahead(&mut self) {
        if std::mem::take(&mut self.sequence.is_sent_ahead) {
            self.compute.backend.cancel();
        }
    }

    /// Begins the pass of a token that was chosen, the last of `generated`, and of guesses at those after it.
    pub(super) fn start_token(&mut self, text: &mut Text, token: u32, generated: usize) -> Result<()> {
        if std::mem::take(&mut self.sequence.is_sent_ahead) {
            let wanted = text.wanted(&self.compute.backend);
            return self.await_ahead(token, wanted);
        }
        let room = self.opened.config.context - text.history.len();
        let left = text.params.max_tokens.map_or(room, |most| most as usize - generated - 1);
        let count = self.guesses(text.params.draft_max, room.min(left));
        text.guesses.clear();
        self.sequence.drafter.draft(&text.history, count, &mut text.guesses);
        if let Some(guide) = &mut text.guide {
            let agreeing = guide.agreeing(&text.guesses)?;
            self.sequence.drafter.withdraw(text.guesses.len() - agreeing);
            text.guesses.truncate(agreeing);
        }
        let output = match text.guesses.len() {
            0 => Output::Last,
            guesses => Output::Drafted { guesses },
        };
        let wanted = text.wanted(&self.compute.backend);
        let last = text.history.len() - 1;
        let position =
            if std::mem::take(&mut text.is_moved) { self.sequence.common(&text.history).min(last) } else { last };
        self.start_forward(&text.history, &text.guesses, position, output, wanted)?;
        Ok(())
    }

    /// Guesses that a pass may take along, least and most, where there is room for `room`. They cost computation
    /// and save reading, so the default depends on where weights are read from.
    fn guesses(&self, asked: Option<u32>, room: usize) -> Range<usize> {
        let (is_fetched, is_on_disk) = (self.loading.has(Placement::Ring), self.loading.plan.rereads);
        let (least, most) = match (asked, is_fetched, is_on_disk) {
            // Others are computed in the same pass.
            _ if self.is_shared() => (0, 0),
            (Some(most), ..) => (1, most as usize),
            // A wrong one would cost more than it saves.
            _ if !self.sequence.rewinds_anywhere() => (0, 0),
            (None, true, _) => GUESSES_FETCHED.into_inner(),
            (None, _, true) => GUESSES_ON_DISK.into_inner(),
            (None, false, false) => (0, 0),
        };
        let most = most.min(room).min(self.compute.backend.batch_max() - 1);
        if self.compute.backend.is_same_in_batches() && most > 0 { least.min(most)..most + 1 } else { 0..0 }
    }
}
