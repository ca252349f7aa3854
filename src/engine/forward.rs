//! A pass of tokens through the groups, one bounded step at a time, layer-major: all tokens of a prompt
//! go through a layer before the next one is needed, so each weight is read once a prompt.

use super::Engine;
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::{Batch, Poll, Wanted};
use crate::pager::State;
use crate::program::Role;
use std::ops::Range;

/// For which rows the head runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The last token only: generation.
    Last,
    /// The first token, then each of the guesses that follow it, as long as they turn out right: the pass
    /// comes to `Done` after every one of them.
    Drafted,
    /// Every token: embeddings and tests.
    Every,
}

/// A pass under way.
pub struct Forward {
    tokens: Vec<u32>,
    /// Position of the first token in the sequence.
    position: usize,
    output: Output,
    wanted: Wanted,
    group: usize,
    /// Rows of the current group that are done.
    done: usize,
    /// Tokens that are in the cache for good and whose results are there.
    computed: usize,
    /// Rows that were sent through the head and whose results are not there yet.
    awaited: Option<Range<usize>>,
    /// Rows that were observed before a device was lost: not again.
    observed: usize,
}

impl Forward {
    /// The group that comes next.
    pub fn group(&self) -> usize {
        self.group
    }
}

/// What a step of a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The bytes of this group are not there yet.
    Wait(usize),
    /// The device computes.
    Device,
    /// The device is gone: [`Engine::attach`] goes on with another.
    Lost,
    /// There is more to do.
    More,
    /// The pass is complete: its tokens are in the cache.
    Done,
}

/// Called for each row that went through the head, with the row and its logits or its hidden state.
pub type Observe<'a> = &'a mut dyn FnMut(usize, &[f32]);

impl Engine {
    /// Begins a pass of `tokens` from `position`; what the cache held from there on is forgotten.
    pub(super) fn start_forward(
        &mut self,
        tokens: &[u32],
        position: usize,
        output: Output,
        wanted: Wanted,
    ) -> Result<()> {
        if let Some(bad) = tokens.iter().find(|t| **t as usize >= self.program.vocabulary) {
            let text = format!("token {bad} is outside the vocabulary of {}", self.program.vocabulary);
            return Err(ChordError::parameter("prompt", text));
        }
        self.cached.truncate(position);
        self.backend.reserve(&self.program, tokens.len())?;
        self.forward = Some(Forward {
            tokens: tokens.to_vec(),
            position,
            output,
            wanted,
            group: 0,
            done: 0,
            computed: 0,
            awaited: None,
            observed: 0,
        });
        Ok(())
    }

    /// Begins the pass of a token that was sent ahead: only its results are still to come.
    pub(super) fn await_ahead(&mut self, token: u32, position: usize, wanted: Wanted) -> Result<()> {
        self.start_forward(&[token], position, Output::Last, wanted)?;
        if let Some(forward) = &mut self.forward {
            (forward.group, forward.awaited) = (self.pager.len() - 1, Some(0..1));
        }
        Ok(())
    }

    /// Whether the device is choosing a token that will stand at this place of the sequence.
    pub(super) fn is_chosen_at(&self, position: usize) -> bool {
        self.forward.as_ref().is_some_and(|forward| {
            let is_token = matches!(forward.wanted, Wanted::Token(_)) && forward.output == Output::Last;
            is_token && forward.awaited.is_some() && forward.position + forward.tokens.len() == position
        })
    }

    /// One step: a batch of a prompt through one group, or a single token through all groups that are
    /// there, as far as a step may last. A group that leaves memory ends the step too, so that its owner can
    /// fetch the next one meanwhile, and so does one that was read from disk, since that takes its time.
    pub(super) fn advance(&mut self, observe: Observe) -> Result<Progress> {
        match self.verify()? {
            Poll::Pending => return Ok(Progress::Device),
            Poll::Lost => return Ok(Progress::Lost),
            Poll::Ready => {}
        }
        let mut bytes = 0;
        loop {
            bytes += self.forward.as_ref().map_or(0, |f| self.program.groups[f.group].bytes as u64);
            let single =
                self.forward.as_ref().is_some_and(|f| f.tokens.len() == 1) && bytes < self.backend.step_bytes_max();
            let pauses = self.pager.counters().pauses();
            match self.advance_group(observe)? {
                Progress::More if single && self.pager.counters().pauses() == pauses => continue,
                progress => return Ok(progress),
            }
        }
    }

    fn advance_group(&mut self, observe: Observe) -> Result<Progress> {
        let Some(mut forward) = self.forward.take() else { return Ok(Progress::Done) };
        let before = forward.computed;
        let progress = self.advance_pass(&mut forward, observe)?;
        self.cached.extend_from_slice(&forward.tokens[before..forward.computed]);
        if forward.computed < forward.tokens.len() {
            self.forward = Some(forward);
        }
        Ok(progress)
    }

    /// Goes on with a pass whose next guess is `token`. False if there is none: another pass has to begin.
    pub(super) fn continue_draft(&mut self, token: u32) -> bool {
        self.forward.take_if(|forward| forward.tokens[forward.computed] != token);
        self.forward.is_some()
    }

    fn advance_pass(&mut self, forward: &mut Forward, observe: Observe) -> Result<Progress> {
        if self.backend.is_lost() {
            return Ok(Progress::Lost);
        }
        let group = forward.group;
        let head = self.program.is_head(group);
        let rows = match forward.awaited.clone() {
            Some(rows) => rows,
            None => {
                if forward.done == 0
                    && let Some(group) = self.lacking(group, &forward.tokens)
                {
                    return Ok(Progress::Wait(group));
                }
                if head && forward.output == Output::Last {
                    forward.done = forward.tokens.len() - 1;
                }
                let most = if head { 1 } else { self.backend.batch_max() };
                let rows = forward.done..forward.tokens.len().min(forward.done + most);
                let batch = Batch {
                    tokens: &forward.tokens[rows.clone()],
                    position: forward.position + rows.start,
                    rows: rows.clone(),
                };
                match group {
                    0 if self.pager.state(0) != State::Resident => self.embed_ahead(&batch),
                    _ => self.backend.run(&self.program, group, &batch, forward.wanted)?,
                }
                if self.backend.take_failure() {
                    let text = "a layer could not be read back from the store";
                    return Err(ChordError::new(ErrorCode::StoreFailed, text));
                }
                rows
            }
        };
        match self.backend.poll() {
            Poll::Lost => return Ok(Progress::Lost),
            Poll::Pending if head => {
                forward.awaited = Some(rows);
                return Ok(Progress::Device);
            }
            _ => forward.awaited = None,
        }
        if let Some(group) = self.backend.damaged(&self.program, group, rows.clone(), forward.wanted) {
            return Err(self.not_finite(group));
        }
        if head && rows.start >= forward.observed {
            match forward.wanted {
                Wanted::Hidden => observe(rows.start, self.backend.hidden(&self.program)),
                _ => observe(rows.start, self.backend.logits(&self.program)),
            }
            forward.observed = rows.end;
        }
        forward.done = rows.end;
        let all = forward.tokens.len();
        let is_drafted = head && forward.output == Output::Drafted;
        forward.computed = if is_drafted || (head && forward.done == all) { forward.done } else { 0 };
        if forward.done == all {
            if self.pager.leave(group) {
                self.backend.evict(group);
            }
            forward.done = 0;
            forward.group += 1;
        }
        Ok(if is_drafted || forward.group == self.pager.len() { Progress::Done } else { Progress::More })
    }

    /// Enters a group that is about to be computed for `tokens`; the group that has to come first, if there is one.
    fn lacking(&mut self, group: usize, tokens: &[u32]) -> Option<usize> {
        let is_embedded = self.pager.state(0) == State::Resident;
        if let Some(ahead) = self.ahead.as_mut().filter(|_| !is_embedded) {
            if group == 0
                && let Some(is_there) = ahead.want(&self.program, tokens)
            {
                return (!is_there).then_some(0);
            }
            let is_head = self.program.is_head(group) && self.pager.state(group) == State::Resident;
            if is_head && ahead.is_head_s(&self.program) && !self.pager.enter(0) {
                return Some(0);
            }
        } else if let Some(ahead) = &mut self.ahead {
            ahead.clear();
        }
        (!self.pager.enter(group)).then_some(group)
    }

    /// The embedding of a batch, from the rows that came ahead of the table.
    fn embed_ahead(&mut self, batch: &Batch) {
        let ahead = self.ahead.as_ref().expect("the first group is entered without it only by what came ahead");
        for (id, bytes) in ahead.vectors() {
            self.backend.keep(id, bytes);
        }
        let mut values = vec![0.0; self.program.slots[0]];
        for (row, token) in batch.rows.clone().zip(batch.tokens) {
            ahead.embed(*token, &mut values);
            self.backend.set_residual(row, &values);
        }
    }

    /// NaN or infinity in the residual stream or the logits: an error that names the layer.
    fn not_finite(&self, group: usize) -> ChordError {
        let (place, layer) = match self.program.groups[group].role {
            Role::Embed => ("the embedding".into(), None),
            Role::Head => ("the output head".into(), None),
            Role::Layer(layer) => (format!("layer {layer}"), Some(layer)),
        };
        let error =
            ChordError::new(ErrorCode::NonFinite, format!("{place} produced NaN or infinity: its weights are damaged"));
        match layer {
            Some(layer) => error.with("layer", layer),
            None => error,
        }
    }
}

impl Forward {
    /// Tokens of the pass.
    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The same pass from the beginning of the sequence, for a device that knows nothing of it yet: `cached`
    /// is what the lost one had in its cache. Guesses are left out.
    pub(super) fn replay(self, cached: &[u32]) -> Forward {
        let (rest, output) = match self.output {
            Output::Drafted => (&self.tokens[self.computed..=self.computed], Output::Last),
            output => (&self.tokens[self.computed..], output),
        };
        let tokens = cached.iter().chain(rest).copied().collect();
        Forward { tokens, output, position: 0, group: 0, done: 0, computed: 0, awaited: None, ..self }
    }
}
