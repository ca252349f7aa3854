//! Several requests at a time: each has a sequence of its own in a *lane* of the backend. Sequences that go on by one
//! token are computed together, in one pass over the weights. What takes more tokens, such as a prompt, is computed
//! between such passes, a part at a time, so that nobody waits for all of it.
//!
//! One lane is *current*: its sequence and request are those that the rest of the engine works on. The others are parked.

use super::Engine;
use super::event::Event;
use super::forward::{Forward, Progress};
use super::generate::{Generation, waiting};
use super::jobs::Job;
use super::report::SequenceStats;
use super::sequence::Sequence;
use crate::cpu::BATCH_MAX;
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::Member;
use std::collections::VecDeque;

/// Of what a whole batch costs on its way through all groups, the part that a prompt may take between two tokens of the
/// others.
const PROMPT_SHARE: usize = 4;

/// Of the weights that a step of a single token may read, the part for a step of several.
const STEP_SHARE: u64 = 2;

/// The lanes of an engine, and the requests that they are at work for.
pub struct Lanes {
    /// By lane; that of the current one is empty.
    pub parked: Vec<Parked>,
    pub jobs: Vec<Job>,
    current: usize,
    /// The pass of several sequences that is under way.
    joint: Option<Forward>,
    /// Lanes whose logits such a pass has made, and which token of it was theirs.
    ready: VecDeque<(usize, usize)>,
    /// Requests that have failed, together or between two steps.
    failed: VecDeque<(usize, ChordError)>,
    /// Rows of prompts that may go through a group before the others go on.
    allowance: usize,
    /// Passes that were begun of one request alone, and requests.
    begun: u64,
    /// Of which request the last step was.
    stepped: usize,
    /// A request waits for a lane.
    pub is_awaited: bool,
    /// What was computed together.
    tally: Together,
}

/// What was computed together.
#[derive(Clone, Copy, Default)]
struct Together {
    last: usize,
    passes: u64,
    tokens: u64,
}

/// A lane that is not the current one.
#[derive(Default)]
pub struct Parked {
    pub sequence: Sequence,
    generation: Option<Generation>,
}

/// What comes next.
enum Turn {
    /// The request of this lane.
    Lane(usize),
    /// The same, whose logits are those of this token of the last joint pass.
    Ready(usize, usize),
    /// The pass of several sequences.
    Joint,
    /// A request has failed with others.
    Failed(usize, ChordError),
    /// There is nothing to be done before some owner has taken what there is.
    Rest,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes {
            parked: vec![Parked::default()],
            jobs: Vec::new(),
            current: 0,
            joint: None,
            ready: VecDeque::new(),
            failed: VecDeque::new(),
            allowance: 0,
            begun: 0,
            stepped: 0,
            is_awaited: false,
            tally: Together::default(),
        }
    }
}

impl Lanes {
    /// What was computed for the request of a lane is of no use any more.
    fn forget(&mut self, lane: usize) {
        self.ready.retain(|(other, _)| *other != lane);
    }
}

impl Engine {
    /// How many requests may run at a time.
    pub fn requests_max(&self) -> usize {
        self.opened.lanes_max.min(self.loading.plan.lanes)
    }

    /// Whether another request may be prepared. If not, a lane that the next step frees is kept for it.
    pub fn can_begin(&mut self) -> bool {
        let can_begin = self.lanes.parked.len() < self.requests_max() || self.free_lanes().next().is_some();
        self.lanes.is_awaited = !can_begin;
        can_begin
    }

    /// The request that the last step was of, where that came to something that is one request's.
    pub fn stepped(&self) -> usize {
        self.lanes.stepped
    }

    /// Drops the request that was prepared.
    pub fn forget_prepared(&mut self) {
        self.prepared = None;
    }

    /// Ends what the current lane is at work for.
    pub(super) fn stop(&mut self) {
        self.generation = None;
        self.sequence.pass = None;
        self.sequence.is_sent_ahead = false;
        self.lanes.forget(self.lanes.current);
        // Nobody waits for a pass of others any more, and their lanes are free.
        let is_wanted = |pass: &Forward| pass.lanes().any(|lane| self.lane(lane).1.is_some());
        if !self.lanes.joint.as_ref().is_some_and(is_wanted) {
            self.lanes.joint = None;
        }
        self.compute.backend.cancel();
    }

    /// Does a bounded piece of what runs. An error ends one request, that of [`Engine::stepped`], and leaves the engine
    /// usable.
    pub fn step(&mut self) -> Result<Event> {
        let event = self.take_turns();
        self.lanes.is_awaited = false;
        event
    }

    fn take_turns(&mut self) -> Result<Event> {
        loop {
            if self.running().next().is_none() {
                return Err(ChordError::new(ErrorCode::Internal, "no request is running"));
            }
            match self.turn() {
                Turn::Rest => return Ok(Event::Device),
                Turn::Failed(request, error) => return self.fail(request, error),
                Turn::Ready(lane, token) => {
                    self.select(lane);
                    self.compute.backend.show(token);
                    if let Some(pass) = self.sequence.pass.take() {
                        self.sequence.advance(pass.tokens());
                    }
                    return self.step_lane(true);
                }
                Turn::Lane(lane) => {
                    self.select(lane);
                    return self.step_alone();
                }
                Turn::Joint => match self.advance_joint() {
                    Ok(progress) => {
                        if let Some(event) = waiting(progress) {
                            return Ok(event);
                        }
                    }
                    Err((lanes, error)) => {
                        let requests = lanes.into_iter().filter_map(|lane| self.request_of(lane));
                        let failed: Vec<(usize, ChordError)> =
                            requests.map(|request| (request, error.clone())).collect();
                        self.lanes.failed.extend(failed);
                    }
                },
            }
        }
    }

    /// Ends a request with an error.
    fn fail(&mut self, request: usize, error: ChordError) -> Result<Event> {
        self.lanes.stepped = request;
        self.cancel_one(request);
        Err(error)
    }

    /// The current lane's request, in passes of its own.
    fn step_alone(&mut self) -> Result<Event> {
        let is_shared = self.is_shared();
        if let Some(pass) = self.sequence.pass.as_mut().filter(|pass| !pass.is_begun()) {
            // The first rows are those of the others' next pass.
            let first_row = if is_shared { self.opened.lanes_max } else { 0 };
            pass.first_row = first_row;
            let (rows, positions) = (first_row + pass.tokens().len(), pass.end());
            let number = self.next_number();
            if let Some(generation) = &mut self.generation {
                generation.since = number;
            }
            if let Err(error) = self.compute.backend.reserve(rows, positions) {
                return match self.request_of(self.lanes.current) {
                    Some(request) => self.fail(request, error),
                    None => Err(error),
                };
            }
        }
        if is_shared {
            let rows = self.sequence.pass.as_ref().map_or(0, |pass| pass.tokens().len().min(BATCH_MAX));
            self.lanes.allowance = self.lanes.allowance.saturating_sub(rows.max(1));
        }
        self.step_lane(false)
    }

    fn step_lane(&mut self, is_ready: bool) -> Result<Event> {
        let Some(mut generation) = self.generation.take() else {
            return Err(ChordError::internal("a lane without a request has no turn"));
        };
        let request = generation.job;
        self.lanes.stepped = request;
        match self.generate(&mut generation, is_ready) {
            Ok(event @ Event::Done { .. }) => {
                self.lanes.jobs.retain(|job| job.number != request);
                Ok(event)
            }
            Ok(event @ Event::Finish { .. }) => {
                if let Err(error) = self.end_choice(generation) {
                    self.lanes.failed.push_back((request, error));
                }
                Ok(event)
            }
            Ok(event) => {
                self.generation = Some(generation);
                Ok(event)
            }
            Err(error) => {
                self.stop();
                self.fail(request, error)
            }
        }
    }

    /// Makes a lane the current one.
    pub(super) fn select(&mut self, lane: usize) {
        let Lanes { parked, current, .. } = &mut self.lanes;
        if lane == *current {
            return;
        }
        let Parked { sequence, generation } = std::mem::take(&mut parked[lane]);
        let sequence = std::mem::replace(&mut self.sequence, sequence);
        let generation = std::mem::replace(&mut self.generation, generation);
        parked[*current] = Parked { sequence, generation };
        *current = lane;
        self.compute.backend.select(lane);
    }

    /// The number of a request that begins now, for those that began earlier to come first.
    pub(super) fn next_number(&mut self) -> u64 {
        self.lanes.begun += 1;
        self.lanes.begun
    }

    /// Whether other lanes have requests, too.
    pub(super) fn is_shared(&self) -> bool {
        self.lanes.parked.iter().any(|parked| parked.generation.is_some())
    }

    /// Whether some request runs that is computed with other scales of the adapters.
    pub(super) fn runs_with_others(&self, scales: &[f32]) -> bool {
        self.running().next().is_some() && self.scales != scales
    }

    /// The lane for a request with this prompt: a free one whose sequence it goes on from, or a new one. `None` where it
    /// has to wait.
    pub(super) fn lane_for(&mut self, prompt: &[u32], scales: &[f32]) -> Option<usize> {
        let shared = |lane: &usize| {
            let (sequence, _) = self.lane(*lane);
            let is_current = *lane == self.lanes.current;
            (sequence.holds(prompt, scales), is_current)
        };
        if let Some(lane) = self.free_lanes().max_by_key(shared) {
            return Some(lane);
        }
        let lane = self.lanes.parked.len();
        // Where there is no memory for another, the request waits for one that runs.
        let has_room = lane < self.requests_max() && self.compute.backend.open_lanes(lane + 1).is_ok();
        has_room.then(|| {
            let sequence = self.sequence.sibling(self.opened.config.context);
            self.lanes.parked.push(Parked { sequence, generation: None });
            lane
        })
    }

    /// Another backend knows nothing of any sequence: all are computed again.
    pub(super) fn begin_lanes_again(&mut self) -> Result<()> {
        let Lanes { parked, current, joint, ready, .. } = &mut self.lanes;
        *joint = None;
        ready.clear();
        for (lane, parked) in parked.iter_mut().enumerate() {
            if lane != *current {
                parked.sequence.begin_again();
            }
        }
        self.compute.backend.open_lanes(parked.len())?;
        self.compute.backend.select(*current);
        Ok(())
    }

    /// Drops the requests of all lanes.
    pub(super) fn cancel_all(&mut self) {
        let current = self.lanes.current;
        for lane in 0..self.lanes.parked.len() {
            self.select(lane);
            self.stop();
        }
        self.select(current);
        self.lanes.jobs.clear();
        self.lanes.joint = None;
        self.lanes.ready.clear();
        self.lanes.failed.clear();
    }

    /// The group that the pass of several sequences computes next.
    pub(super) fn joint_group(&self) -> Option<usize> {
        self.lanes.joint.as_ref().map(Forward::group)
    }

    /// How many sequences there are, and what was computed of them together.
    pub(super) fn sequence_stats(&self) -> SequenceStats {
        let Together { last, passes, tokens } = self.lanes.tally;
        SequenceStats { most: self.requests_max(), running: self.lanes.jobs.len(), together: last, passes, tokens }
    }

    pub(super) fn lane(&self, lane: usize) -> (&Sequence, Option<&Generation>) {
        if lane == self.lanes.current {
            return (&self.sequence, self.generation.as_ref());
        }
        let Parked { sequence, generation } = &self.lanes.parked[lane];
        (sequence, generation.as_ref())
    }

    /// The request that a lane is at work for.
    fn request_of(&self, lane: usize) -> Option<usize> {
        self.lane(lane).1.map(|generation| generation.job)
    }

    /// Lanes but the current one.
    pub(super) fn other_lanes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lanes.parked.len()).filter(|lane| *lane != self.lanes.current)
    }

    /// Lanes that are at work.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lanes.parked.len()).filter(|lane| self.lane(*lane).1.is_some())
    }

    /// Lanes without a request, of which nothing is computed any more.
    fn free_lanes(&self) -> impl Iterator<Item = usize> + '_ {
        let is_computed =
            |lane: usize| self.lanes.joint.as_ref().is_some_and(|pass| pass.lanes().any(|member| member == lane));
        (0..self.lanes.parked.len()).filter(move |lane| self.lane(*lane).1.is_none() && !is_computed(*lane))
    }

    /// Who comes next.
    fn turn(&mut self) -> Turn {
        while let Some((request, error)) = self.lanes.failed.pop_front() {
            if self.job(request).is_some() {
                return Turn::Failed(request, error);
            }
        }
        if !self.lanes.is_awaited
            && let Err((request, error)) = self.begin_choices()
        {
            return Turn::Failed(request, error);
        }
        while let Some((lane, token)) = self.lanes.ready.pop_front() {
            if self.is_joining(lane) {
                return Turn::Ready(lane, token);
            }
        }
        if let Some(lane) = self.running().find(|lane| self.has_pass(*lane, Forward::is_awaited)) {
            return Turn::Lane(lane);
        }
        if self.lanes.joint.is_some() {
            return Turn::Joint;
        }
        let begun = self.running().find(|lane| self.has_pass(*lane, Forward::is_begun));
        let free = || self.running().filter(|lane| !self.is_held(*lane));
        if self.running().count() == 1 {
            return free().next().map_or(Turn::Rest, Turn::Lane);
        }
        // What began when nobody else ran has the rows of the others' pass.
        if let Some(lane) = begun.filter(|lane| self.has_pass(*lane, |pass| pass.first_row == 0)) {
            return Turn::Lane(lane);
        }
        let alone = || free().filter(|lane| !self.is_joining(*lane));
        // Between two of its passes a request takes no time.
        if let Some(lane) = alone().find(|lane| self.lane(*lane).0.pass.is_none()) {
            return Turn::Lane(lane);
        }
        let next = begun.or_else(|| alone().min_by_key(|lane| self.lane(*lane).1.map(|generation| generation.since)));
        let joins = free().any(|lane| self.is_joining(lane));
        match next {
            Some(lane) if !joins || self.lanes.allowance > 0 => Turn::Lane(lane),
            None if !joins => Turn::Rest,
            Some(_) | None => self.begin_joint(),
        }
    }

    fn has_pass(&self, lane: usize, is: fn(&Forward) -> bool) -> bool {
        self.lane(lane).0.pass.as_ref().is_some_and(is)
    }

    /// Whether the request of a lane is not to go on for now.
    fn is_held(&self, lane: usize) -> bool {
        self.request_of(lane).and_then(|request| self.job(request)).is_some_and(|job| job.is_held)
    }

    /// Whether the request of a lane goes on by one token, whose pass has not begun.
    fn is_joining(&self, lane: usize) -> bool {
        let (sequence, generation) = self.lane(lane);
        generation.is_some_and(Generation::writes) && sequence.pass.as_ref().is_some_and(Forward::joins)
    }

    /// Begins the pass of the next token of each sequence that goes on by one.
    fn begin_joint(&mut self) -> Turn {
        let (mut members, mut tokens) = (Vec::new(), Vec::new());
        for lane in 0..self.lanes.parked.len() {
            if self.is_held(lane) || !self.is_joining(lane) {
                continue;
            }
            let Some(pass) = self.lane(lane).0.pass.as_ref() else { continue };
            let (token, position) = (pass.tokens()[0], pass.end() - 1);
            self.select(lane);
            if let Err(error) = self.compute.backend.reserve(self.opened.lanes_max, position + 1)
                && let Some(request) = self.request_of(lane)
            {
                return Turn::Failed(request, error);
            }
            tokens.push(token);
            members.push(Member { lane, position });
        }
        self.lanes.tally.last = members.len();
        self.lanes.joint = Some(Forward::joint(tokens, members));
        Turn::Joint
    }

    /// A step of the pass of several sequences. An error is that of all of them.
    fn advance_joint(&mut self) -> std::result::Result<Progress, (Vec<usize>, ChordError)> {
        let Some(mut pass) = self.lanes.joint.take() else { return Ok(Progress::Done) };
        let most = self.compute.backend.step_bytes_max() / STEP_SHARE;
        let mut bytes = 0;
        loop {
            bytes += self.opened.program.bytes_read(pass.group(), pass.tokens().len());
            match self.advance_pass(&mut pass, &mut |_, _| {}) {
                Err(error) => return Err((pass.lanes().collect(), error)),
                Ok(Progress::More) if bytes < most => {}
                Ok(Progress::Done) => break,
                Ok(progress) => {
                    self.lanes.joint = Some(pass);
                    return Ok(progress);
                }
            }
        }
        for (token, lane) in pass.lanes().enumerate() {
            if self.lane(lane).1.is_some() {
                self.lanes.ready.push_back((lane, token));
            }
        }
        let Lanes { allowance, tally, .. } = &mut self.lanes;
        *allowance = (self.opened.program.groups.len() * BATCH_MAX).div_ceil(PROMPT_SHARE);
        tally.passes += 1;
        tally.tokens += pass.lanes().count() as u64;
        Ok(Progress::Done)
    }
}
