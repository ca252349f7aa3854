//! Saves the state of a sequence, and takes it up again.

use super::Engine;
use super::sequence::{Saved, Saving};
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::Poll;

impl Engine {
    /// The sequence that was computed last, with all that the model keeps of it, as bytes: an engine of the same
    /// model and build takes it up by [`Engine::restore`], and computes none of its tokens again. `None` while the
    /// device is still to hand it over: then it is asked for again after the device woke the owner. No request may
    /// be running.
    ///
    /// The bytes name their model by its header. An owner that opens files of one header and other weights has to
    /// keep their sequences apart.
    pub fn save(&mut self) -> Result<Option<Vec<u8>>> {
        self.check_idle()?;
        self.check_alone()?;
        if !self.sequence.rewinds_anywhere() {
            // Guesses that were wrong, or a pass that was dropped, are a part of the state.
            self.go_back(usize::MAX);
        }
        let Engine { opened, compute, sequence, .. } = self;
        let tokens = sequence.tokens().len();
        let mut saving = match sequence.saving.take() {
            Some(saving) => saving,
            None => Saving::new(sequence.tokens(), opened.fingerprint(), &opened.layout)?,
        };
        // An empty sequence has left nothing behind.
        let first = if tokens > 0 { saving.done } else { usize::MAX };
        for state in opened.layout.states().skip(first) {
            match compute.backend.read_state(&opened.layout, state, tokens, &mut saving.bytes) {
                Poll::Ready => saving.done += 1,
                Poll::Pending => {
                    sequence.saving = Some(saving);
                    return Ok(None);
                }
                Poll::Lost => return Err(ChordError::new(ErrorCode::DeviceLost, "the GPU was lost, and the sequence")),
            }
        }
        Ok(Some(saving.finish()))
    }

    /// Takes up a saved sequence in place of what was computed last: a prompt that begins with its tokens finds
    /// them computed. How many they are. What is damaged, or was computed by another model or build, is refused,
    /// and changes nothing.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<usize> {
        self.check_idle()?;
        self.check_alone()?;
        self.drop_saving();
        let Engine { opened, compute, sequence, .. } = self;
        let Saved { tokens, mut state } = Saved::read(bytes, opened.fingerprint(), &opened.layout)?;
        opened.check_tokens(&tokens)?;
        for id in opened.layout.states() {
            let (now, later) = state.split_at(opened.layout.state_bytes(id, tokens.len()));
            compute.backend.write_state(&opened.layout, id, 0..tokens.len(), now);
            state = later;
        }
        Ok(sequence.take_up(tokens))
    }

    /// Another sequence begins: what is on its way of this one is not wanted any more.
    pub(super) fn drop_saving(&mut self) {
        if self.sequence.saving.take().is_some() {
            self.compute.backend.cancel();
        }
    }

    /// Of several threads each keeps its own heads' part of a sequence, which is not brought together.
    fn check_alone(&self) -> Result<()> {
        match self.threads() {
            1 => Ok(()),
            threads => {
                let text =
                    format!("{threads} threads keep a part of the sequence each: one thread can save and restore it");
                Err(ChordError::new(ErrorCode::InvalidState, text).with("reason", "threads"))
            }
        }
    }

    /// What a sequence holds can only be handed over between requests.
    pub(super) fn check_idle(&self) -> Result<()> {
        match self.generation {
            None => Ok(()),
            Some(_) => Err(ChordError::internal("a request is running already")),
        }
    }
}
