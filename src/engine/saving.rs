//! Saves the state of a sequence, and takes it up again: piece by piece, so that no second copy of it is in memory.

use super::Engine;
use super::sequence::{Restoring, Saving, Unit, Used};
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::Poll;

impl Engine {
    /// Whether a sequence can be saved while a request runs: where its state goes back to any position, so that what
    /// the request has begun is no part of what is saved.
    pub fn saves_midway(&self) -> bool {
        self.sequence.rewinds_anywhere()
    }

    /// Begins to save the sequence that was computed last, with all that the model keeps of it. How many tokens it has.
    /// A request may run only if [`Engine::saves_midway`], and takes no step until all is saved.
    ///
    /// The bytes name their model by its header. An owner that opens files of one header and other weights has to
    /// keep their sequences apart.
    pub fn begin_save(&mut self) -> Result<usize> {
        if !self.saves_midway() {
            self.check_idle()?;
            // Guesses that were wrong, or a pass that was dropped, are a part of the state.
            self.go_back(usize::MAX);
        }
        self.drop_saving();
        let Engine { opened, sequence, .. } = self;
        let scales = &sequence.scales;
        let (fingerprint, used) = (opened.fingerprint(scales), opened.adapters.used(scales));
        let saving = Saving::new(sequence.tokens(), fingerprint, &used, &opened.layout);
        let tokens = saving.tokens;
        sequence.saving = Some(saving);
        Ok(tokens)
    }

    /// The next bytes of the sequence that is saved, and none after the last ones. `None` while the device, or another
    /// thread, is still to hand them over: then they are asked for again after the owner was woken. An engine of the
    /// same model and build takes them up by [`Engine::restore`], and computes none of the tokens again.
    pub fn save(&mut self) -> Result<Option<&[u8]>> {
        let Engine { opened, compute, sequence, .. } = self;
        let Some(mut saving) = sequence.saving.take() else {
            return Err(ChordError::internal("no sequence is being saved"));
        };
        if !saving.is_begun {
            saving.is_begun = true;
            saving.close_piece(false);
            return Ok(Some(&sequence.saving.insert(saving).piece));
        }
        saving.piece.clear();
        let wanted = saving.wanted(&opened.layout, compute.backend.piece_bytes());
        if let Some((state, piece)) = &wanted {
            let (layout, tokens) = (&opened.layout, saving.tokens);
            match compute.backend.read_state(layout, *state, tokens, piece.clone(), &mut saving.piece) {
                Poll::Ready => saving.took(piece),
                Poll::Pending => {
                    sequence.saving = Some(saving);
                    return Ok(None);
                }
                Poll::Lost => return Err(lost()),
            }
        }
        saving.close_piece(wanted.is_none());
        if saving.piece.is_empty() {
            return Ok(Some(&[]));
        }
        Ok(Some(&sequence.saving.insert(saving).piece))
    }

    /// Takes the next bytes of a saved sequence; how many of them. Where that is not all of them another thread is
    /// waited for, and the others are offered again after the owner was woken. What was computed last is kept until it
    /// is known that the bytes are of this model and build, and fit; then they take its place. What is refused later,
    /// because it is damaged, leaves no sequence. An error ends it.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<usize> {
        self.check_idle()?;
        self.drop_saving();
        let mut restoring = self.sequence.restoring.take().unwrap_or_else(Restoring::new);
        let count = self.read_on(&mut restoring, bytes)?;
        self.sequence.restoring = Some(restoring);
        Ok(count)
    }

    /// Ends what [`Engine::restore`] began: from now on a prompt that begins with the tokens of the saved sequence finds
    /// them computed. How many they are; `None` while another thread is waited for.
    pub fn finish_restore(&mut self) -> Result<Option<usize>> {
        self.check_idle()?;
        let mut restoring = self.sequence.restoring.take().unwrap_or_else(Restoring::new);
        self.read_on(&mut restoring, &[])?;
        if restoring.is_waiting {
            self.sequence.restoring = Some(restoring);
            return Ok(None);
        }
        let tokens = restoring.finish()?;
        self.sequence.goes_on = true;
        Ok(Some(self.sequence.take_up(tokens)))
    }

    /// Drops what [`Engine::restore`] has begun, if there is something.
    pub fn drop_restore(&mut self) {
        self.sequence.restoring = None;
    }

    fn read_on(&mut self, restoring: &mut Restoring, mut bytes: &[u8]) -> Result<usize> {
        let Engine { opened, compute, sequence, .. } = self;
        let (layout, most) = (&opened.layout, compute.backend.piece_bytes());
        let all = bytes.len();
        loop {
            let (unit, needed) = restoring.next(layout, most);
            let (taken, is_whole) = restoring.hold(bytes, needed)?;
            bytes = &bytes[taken..];
            if !is_whole {
                return Ok(all - bytes.len());
            }
            match unit {
                Unit::End if bytes.is_empty() => return Ok(all),
                Unit::End => return Err(super::sequence::damaged()),
                Unit::Own => {
                    let mut found = None;
                    let knows = |fingerprint: u64, used: &[Used]| {
                        let scales = opened.adapters.scales_of(used);
                        found = scales.filter(|scales| opened.fingerprint(scales) == fingerprint);
                        found.is_some()
                    };
                    restoring.read_own(knows, layout, opened.program.vocabulary)?;
                    if let Some(scales) = found.filter(|scales| *scales != sequence.scales) {
                        sequence.take_up(Vec::new());
                        sequence.scales = scales;
                    }
                    compute.backend.reserve(0, restoring.positions())?;
                }
                Unit::State(state, piece) => {
                    sequence.take_up(Vec::new());
                    let (positions, held) = (restoring.positions(), restoring.held());
                    match compute.backend.write_state(layout, state, positions, piece.clone(), held) {
                        Poll::Ready => restoring.placed(&piece),
                        Poll::Pending => {
                            restoring.is_waiting = true;
                            return Ok(all - bytes.len());
                        }
                        Poll::Lost => return Err(lost()),
                    }
                }
            }
        }
    }

    /// Another sequence begins: what is on its way of this one is not wanted any more.
    pub(super) fn drop_saving(&mut self) {
        if self.sequence.saving.take().is_some() {
            self.compute.backend.stop_reading();
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

fn lost() -> ChordError {
    ChordError::new(ErrorCode::DeviceLost, "the device was lost, and the sequence")
}
