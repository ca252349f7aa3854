//! A pass of tokens through the groups, one bounded step at a time, layer-major: all tokens of a prompt
//! go through a layer before the next one is needed, so each weight is read once a prompt.

use super::Engine;
use super::backend::Backend;
use super::compute::Compute;
use super::opened::Opened;
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::{Batch, Member, Poll, Wanted};
use crate::program::Role;
use std::ops::Range;

/// For which rows the head runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The last token only: generation.
    Last,
    /// The last token that is known, then each of the guesses that follow it, as long as they turn out right:
    /// the pass comes to `Done` after every one of them.
    Drafted { guesses: usize },
    /// The first token only.
    First,
    /// Every token: embeddings and tests.
    Every,
}

impl Output {
    /// Those of a pass of so many rows.
    fn rows(self, count: usize) -> Range<usize> {
        match self {
            Output::Last => count - 1..count,
            Output::Drafted { guesses } => count - 1 - guesses..count,
            Output::First => 0..1,
            Output::Every => 0..count,
        }
    }
}

/// Tokens of a pass that are computed again sooner than the state before the last of them is worth a copy.
const COPIED_MIN: usize = 8;

/// A pass under way.
pub struct Forward {
    tokens: Vec<u32>,
    /// Position of the first token in the sequence.
    position: usize,
    /// Whose tokens they are, where they are a token each of several sequences.
    members: Vec<Member>,
    /// Where its texts are, where it is of several: by their rows.
    texts: Vec<Range<usize>>,
    /// Where its rows of the residual stream begin.
    pub(super) first_row: usize,
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
    /// A pass of tokens from a position on.
    pub(super) fn new(position: usize, tokens: Vec<u32>, output: Output, wanted: Wanted) -> Forward {
        Forward {
            tokens,
            position,
            members: Vec::new(),
            texts: Vec::new(),
            first_row: 0,
            output,
            wanted,
            group: 0,
            done: 0,
            computed: 0,
            awaited: None,
            observed: 0,
        }
    }

    /// A pass of a token each of several sequences.
    pub(super) fn joint(tokens: Vec<u32>, members: Vec<Member>) -> Forward {
        Forward { members, ..Forward::new(0, tokens, Output::Every, Wanted::Logits) }
    }

    /// The rows that the head is for, from the first of all to the last.
    fn head_rows(&self) -> Range<usize> {
        match (self.texts.first(), self.texts.last()) {
            (Some(first), Some(last)) => self.rows_of(first).start..self.rows_of(last).end,
            _ => self.output.rows(self.tokens.len()),
        }
    }

    /// Those of a text.
    fn rows_of(&self, text: &Range<usize>) -> Range<usize> {
        let rows = self.output.rows(text.len());
        text.start + rows.start..text.start + rows.end
    }

    /// The first of these rows that the head is for, as many as follow one another.
    fn run_of(&self, rows: Range<usize>) -> Range<usize> {
        if self.output == Output::Every {
            return rows;
        }
        let text = self.texts.partition_point(|text| self.rows_of(text).end <= rows.start);
        match self.texts.get(text).map(|text| self.rows_of(text)) {
            Some(own) => rows.start.max(own.start)..rows.end.min(own.end),
            None => rows,
        }
    }

    /// Which texts some of its rows are of, where it is of several.
    fn texts_of(&self, rows: &Range<usize>) -> Range<usize> {
        let first = self.texts.partition_point(|text| text.end <= rows.start);
        let end = self.texts.partition_point(|text| text.start < rows.end);
        first..end
    }

    /// The lanes of those sequences.
    pub(super) fn lanes(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().map(|member| member.lane)
    }

    /// Whether something of it was computed.
    pub(super) fn is_begun(&self) -> bool {
        self.group > 0 || self.done > 0 || self.computed > 0 || self.is_awaited()
    }

    /// Whether something of it is computed now.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether it may become a part of a pass of several sequences.
    pub(super) fn joins(&self) -> bool {
        let is_next = self.tokens.len() == 1 && self.output == Output::Last && self.wanted == Wanted::Logits;
        is_next && !self.is_begun()
    }

    /// Rows of it as the backend numbers them.
    fn placed(&self, rows: &Range<usize>) -> Range<usize> {
        self.first_row + rows.start..self.first_row + rows.end
    }

    /// Whether it takes a token of each sequence that it is of.
    fn is_single(&self) -> bool {
        self.tokens.len() == 1 || !self.members.is_empty()
    }

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
    /// Begins the pass after which the state holds `known` tokens, and as many of the `guesses` at those after
    /// them as turn out right. Only what the state does not hold yet is computed, but at least what comes from
    /// `position` on, whose results are wanted. How many tokens it goes on from.
    pub(super) fn start_forward(
        &mut self,
        known: &[u32],
        guesses: &[u32],
        position: usize,
        output: Output,
        wanted: Wanted,
    ) -> Result<usize> {
        let kept = self.begin_from(position);
        self.start_after(kept, [&known[kept..], guesses].concat(), output, wanted)?;
        Ok(kept)
    }

    /// Begins the pass of several texts, each a sequence of its own, which end at these rows. Nothing was computed of them.
    pub(super) fn start_texts(
        &mut self,
        tokens: Vec<u32>,
        ends: &[usize],
        output: Output,
        wanted: Wanted,
    ) -> Result<usize> {
        self.begin_from(0);
        let starts = [0].iter().chain(ends);
        let texts = starts.zip(ends).map(|(start, end)| *start..*end).collect();
        self.start_pass(Forward { texts, ..Forward::new(0, tokens, output, wanted) })?;
        Ok(0)
    }

    /// Goes back to a position, or as near as that can be, for another pass to begin there.
    fn begin_from(&mut self, position: usize) -> usize {
        self.drop_saving();
        self.drop_restore();
        let kept = self.go_back(position);
        if self.sequence.forgets() {
            self.compute.backend.forget(&self.opened.layout, kept);
        }
        kept
    }

    /// Lets the sequence go back to its first `to` tokens, or as near as its state can. How many it still holds.
    pub(super) fn go_back(&mut self, to: usize) -> usize {
        let (kept, copy) = self.sequence.rewind(to);
        if let Some(copy) = copy {
            self.compute.backend.take_back(copy);
        }
        kept
    }

    /// Begins the pass of a token that was sent ahead: only its results are still to come.
    pub(super) fn await_ahead(&mut self, token: u32, wanted: Wanted) -> Result<()> {
        self.start_after(self.sequence.tokens().len(), vec![token], Output::Last, wanted)?;
        if let Some(forward) = &mut self.sequence.pass {
            (forward.group, forward.awaited) = (self.loading.pager.len() - 1, Some(0..1));
        }
        Ok(())
    }

    fn start_after(&mut self, position: usize, tokens: Vec<u32>, output: Output, wanted: Wanted) -> Result<()> {
        self.start_pass(Forward::new(position, tokens, output, wanted))
    }

    fn start_pass(&mut self, pass: Forward) -> Result<()> {
        // What others compute now would be lost where their rows had to grow: then room is made when it is its turn.
        if !self.is_shared() {
            self.compute.backend.reserve(pass.tokens.len(), pass.end())?;
        }
        self.sequence.begin_pass(pass);
        Ok(())
    }

    /// Whether the device is choosing a token that will stand at this place of the sequence.
    pub(super) fn is_chosen_at(&self, position: usize) -> bool {
        self.sequence.pass.as_ref().is_some_and(|forward| {
            let is_token = matches!(forward.wanted, Wanted::Token(_)) && forward.output == Output::Last;
            is_token && forward.awaited.is_some() && forward.end() == position
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
            let pass = self.sequence.pass.as_ref();
            bytes += pass.map_or(0, |f| self.opened.program.bytes_read(f.group, f.tokens.len()));
            let single = pass.is_some_and(|f| f.tokens.len() == 1) && bytes < self.compute.backend.step_bytes_max();
            let pauses = self.loading.pager.counters().pauses();
            match self.advance_group(observe)? {
                Progress::More if single && self.loading.pager.counters().pauses() == pauses => continue,
                progress => return Ok(progress),
            }
        }
    }

    fn advance_group(&mut self, observe: Observe) -> Result<Progress> {
        let Some(mut forward) = self.sequence.pass.take() else { return Ok(Progress::Done) };
        let before = forward.computed;
        let progress = self.advance_pass(&mut forward, observe)?;
        if before == 0
            && forward.computed > 0
            && let Some(copy) = forward.copy()
        {
            self.sequence.copied(copy);
        }
        self.sequence.advance(&forward.tokens[before..forward.computed]);
        if forward.computed < forward.tokens.len() {
            self.sequence.pass = Some(forward);
        }
        Ok(progress)
    }

    /// Goes on with a pass whose next guess is `token`. False if there is none: another pass has to begin.
    pub(super) fn continue_draft(&mut self, token: u32) -> bool {
        self.sequence.pass.take_if(|forward| forward.tokens[forward.computed] != token);
        self.sequence.pass.is_some()
    }

    pub(super) fn advance_pass(&mut self, forward: &mut Forward, observe: Observe) -> Result<Progress> {
        if self.compute.backend.is_lost() {
            return Ok(Progress::Lost);
        }
        let group = forward.group;
        let head = self.opened.program.is_head(group);
        let count = forward.tokens.len();
        let all = if head { forward.head_rows() } else { 0..count };
        let rows = match forward.awaited.clone() {
            Some(rows) => rows,
            None => {
                // What a pass began that was dropped since then comes to its end first.
                match self.compute.backend.is_running().then(|| self.compute.backend.poll()) {
                    Some(Poll::Pending) => return Ok(Progress::Device),
                    Some(Poll::Lost) => return Ok(Progress::Lost),
                    Some(Poll::Ready) | None => {}
                }
                if forward.done == 0
                    && let Some(group) = self.loading.lacking(&self.opened.program, group, &forward.tokens)
                {
                    return Ok(Progress::Wait(group));
                }
                self.run_rows(forward, all.clone(), head)?
            }
        };
        let (group, head) = (forward.group, self.opened.program.is_head(forward.group));
        let Engine { opened: Opened { program, .. }, loading, compute: Compute { backend, .. }, .. } = self;
        match backend.poll() {
            Poll::Lost => return Ok(Progress::Lost),
            Poll::Pending if head || backend.runs_one_by_one() => {
                forward.awaited = Some(rows);
                return Ok(Progress::Device);
            }
            Poll::Pending | Poll::Ready => forward.awaited = None,
        }
        if backend.take_failure() {
            let text = "a layer could not be read back from the store";
            return Err(ChordError::new(ErrorCode::StoreFailed, text));
        }
        if let Some(group) = backend.damaged(program, group, forward.placed(&rows), forward.wanted) {
            return Err(not_finite(program.groups[group].role));
        }
        if head && forward.members.is_empty() {
            forward.show(backend, rows.clone(), observe);
        }
        forward.done = rows.end;
        let is_drafted = head && matches!(forward.output, Output::Drafted { .. });
        forward.computed = match forward.done == all.end {
            true if head => count,
            _ if is_drafted => forward.done,
            _ => 0,
        };
        if forward.done == all.end {
            if loading.pager.leave(group) {
                backend.evict(group);
            }
            forward.done = 0;
            forward.group += 1;
        }
        Ok(if is_drafted || forward.group == loading.pager.len() { Progress::Done } else { Progress::More })
    }

    /// Runs the next rows of the pass, of `all` that its group is for, through the group, or sends that off. A single
    /// token is run through all groups that follow where they stay in memory, so that threads need one order for it.
    fn run_rows(&mut self, forward: &mut Forward, all: Range<usize>, head: bool) -> Result<Range<usize>> {
        let Engine { opened, loading, compute: Compute { backend, .. }, .. } = self;
        let Opened { program, looks_ahead, .. } = &*opened;
        let looks_ahead = *looks_ahead;
        let is_several = !forward.members.is_empty();
        let most = match head && !is_several {
            true => backend.head_rows_max(program, forward.wanted),
            false => backend.batch_max(),
        };
        let first = forward.done.max(all.start);
        let mut rows = if head { forward.run_of(first..all.end) } else { first..all.end };
        rows.end = rows.end.min(rows.start + most);
        if let Some((copy, position)) = forward.copy().filter(|_| !head && program.fixed_values() > 0) {
            // The state is copied where a batch ends, before the next one moves it on.
            let at = position - forward.position;
            if at == first {
                backend.copy_states(program, forward.group, copy);
            } else if rows.contains(&at) {
                rows.end = at;
            }
        }
        let batch = Batch {
            tokens: &forward.tokens[rows.clone()],
            position: forward.position + rows.start,
            rows: forward.placed(&rows),
            positions: forward.position + if looks_ahead { forward.tokens.len() } else { rows.end },
            lane: backend.lane(),
            members: &forward.members,
            texts: &forward.texts[forward.texts_of(&rows)],
        };
        if loading.embeds_ahead(forward.group) {
            loading.embed_ahead(program, backend, &batch);
            return Ok(rows);
        }
        let first = forward.group;
        while backend.runs_groups_together() && forward.is_single() && loading.advances(program, forward.group) {
            forward.group += 1;
        }
        backend.run(program, first..forward.group + 1, &batch, forward.wanted)?;
        Ok(rows)
    }
}

/// NaN or infinity in the residual stream or the logits: an error that names the layer.
fn not_finite(role: Role) -> ChordError {
    let (place, layer) = match role {
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

impl Forward {
    /// Shows what the head made of these rows, but for those that were shown before a device was lost.
    fn show(&mut self, backend: &mut Backend, rows: Range<usize>, observe: Observe) {
        let values = match self.wanted {
            Wanted::Hidden => backend.hidden(self.placed(&rows)),
            Wanted::Token(_) | Wanted::Logits => backend.logits(),
        };
        let width = values.len() / rows.len();
        for (row, values) in rows.clone().zip(values.chunks_exact(width.max(1))) {
            if row >= self.observed {
                observe(row, values);
            }
        }
        self.observed = self.observed.max(rows.end);
    }

    /// Which copy of the state the pass makes on its way, and at which position: before guesses, which may be wrong,
    /// where it begins; of a prompt before its last token, so that the same prompt needs no other to be computed.
    pub(super) fn copy(&self) -> Option<(usize, usize)> {
        match self.output {
            Output::Drafted { .. } => Some((1, self.position)),
            _ if self.members.is_empty() && self.texts.is_empty() && self.tokens.len() > COPIED_MIN => {
                Some((0, self.position + self.tokens.len() - 1))
            }
            _ => None,
        }
    }

    /// Tokens of the pass.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The position that the sequence has come to when the pass is complete.
    pub(super) fn end(&self) -> usize {
        self.position + self.tokens.len()
    }

    /// The same pass from the beginning of the sequence, for a device that knows nothing of it yet: `known` are
    /// the tokens that the lost one had computed. Guesses are left out.
    pub(super) fn replay(self, known: &[u32]) -> Forward {
        let (end, output) = match self.output {
            Output::Drafted { guesses } => {
                let next = self.computed.max(self.tokens.len() - 1 - guesses);
                (next + 1, Output::Last)
            }
            output => (self.tokens.len(), output),
        };
        let tokens = known.iter().chain(&self.tokens[self.computed..end]).copied().collect();
        Forward { observed: self.observed, texts: self.texts, ..Forward::new(0, tokens, output, self.wanted) }
    }
}
