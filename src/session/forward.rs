//! A pass of tokens through the groups, one bounded step at a time, layer-major: all tokens of a prompt
//! go through a layer before the next one is needed, so each weight is read once a prompt.

use super::Session;
use crate::cpu::{BATCH_MAX, Batch};
use crate::error::{ChordError, ErrorCode, Result};

/// For which rows the head runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The last token only: generation.
    Last,
    /// Every token: embeddings and tests.
    Every,
}

/// A pass under way.
pub struct Forward {
    tokens: Vec<u32>,
    /// Position of the first token in the sequence.
    position: usize,
    output: Output,
    group: usize,
    /// Rows of the current group that are done.
    done: usize,
}

/// What a step of a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The bytes of this group are not there yet.
    Wait(usize),
    /// There is more to do.
    More,
    /// The pass is complete: its tokens are in the cache.
    Done,
}

/// Called for each row that went through the head, with the row, its logits and its hidden state.
pub type Observe<'a> = &'a mut dyn FnMut(usize, &[f32], &[f32]);

impl Session {
    /// Begins a pass of `tokens` from `position`; what the cache held from there on is forgotten.
    pub(super) fn start_forward(&mut self, tokens: &[u32], position: usize, output: Output) -> Result<()> {
        if let Some(bad) = tokens.iter().find(|t| **t as usize >= self.program.vocabulary) {
            let text = format!("token {bad} is outside the vocabulary of {}", self.program.vocabulary);
            return Err(ChordError::parameter("prompt", text));
        }
        self.cached.truncate(position);
        self.backend.reserve(&self.program, tokens.len())?;
        self.forward = Some(Forward { tokens: tokens.to_vec(), position, output, group: 0, done: 0 });
        Ok(())
    }

    /// One step: a batch of a prompt through one group, or a single token through all groups that are
    /// there. A group that leaves memory ends the step, so that its owner can fetch the next one meanwhile.
    pub(super) fn advance(&mut self, observe: Observe) -> Result<Progress> {
        loop {
            let single = self.forward.as_ref().is_some_and(|f| f.tokens.len() == 1);
            let evictions = self.pager.counters().evictions;
            match self.advance_group(observe)? {
                Progress::More if single && self.pager.counters().evictions == evictions => continue,
                progress => return Ok(progress),
            }
        }
    }

    fn advance_group(&mut self, observe: Observe) -> Result<Progress> {
        let Some(mut forward) = self.forward.take() else { return Ok(Progress::Done) };
        let group = forward.group;
        if forward.done == 0 && !self.pager.enter(group) {
            self.forward = Some(forward);
            return Ok(Progress::Wait(group));
        }
        let head = group + 1 == self.pager.len();
        if head && forward.output == Output::Last {
            forward.done = forward.tokens.len() - 1;
        }
        let rows = forward.done..forward.tokens.len().min(forward.done + if head { 1 } else { BATCH_MAX });
        let batch = Batch {
            tokens: &forward.tokens[rows.clone()],
            position: forward.position + rows.start,
            rows: rows.clone(),
        };
        self.backend.run(&self.program, group, &batch);
        self.check_finite(group, rows.clone())?;
        if head {
            let hidden = self.backend.hidden(&self.program);
            observe(rows.start, self.backend.logits(&self.program), hidden);
        }
        forward.done = rows.end;
        if forward.done == forward.tokens.len() {
            if self.pager.leave(group) {
                self.backend.weights.evict(group);
            }
            forward.done = 0;
            forward.group += 1;
        }
        if forward.group == self.pager.len() {
            self.cached.extend_from_slice(&forward.tokens);
            return Ok(Progress::Done);
        }
        self.forward = Some(forward);
        Ok(Progress::More)
    }

    /// NaN or infinity in the residual stream or the logits: an error that names the layer.
    fn check_finite(&self, group: usize, rows: std::ops::Range<usize>) -> Result<()> {
        let layers = self.pager.len() - 2;
        let finite = match group > layers {
            true => all_finite(self.backend.logits(&self.program)),
            false => rows.into_iter().all(|row| all_finite(self.backend.residual(&self.program, row))),
        };
        if finite {
            return Ok(());
        }
        let (place, layer) = match group {
            0 => ("the embedding".into(), None),
            g if g > layers => ("the output head".into(), None),
            g => (format!("layer {}", g - 1), Some(g - 1)),
        };
        let error =
            ChordError::new(ErrorCode::NonFinite, format!("{place} produced NaN or infinity: its weights are damaged"));
        Err(match layer {
            Some(layer) => error.with("layer", layer),
            None => error,
        })
    }
}

/// Whether no value is NaN or infinite: their difference to themselves is not zero.
fn all_finite(values: &[f32]) -> bool {
    let sums = values.chunks(4).fold([0.0f32; 4], |mut sums, chunk| {
        sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += v - v);
        sums
    });
    sums.iter().all(|s| *s == 0.0)
}
