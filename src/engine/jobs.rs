//! Requests under way: each is at work in one lane, or where it makes several choices, in as many as are free.

use super::Engine;
use super::choices::Choices;
use super::event::Usage;
use super::generate::{Generation, Purpose};
use super::sequence::Tally;
use crate::error::{ChordError, Result};
use std::cmp::Reverse;

/// A request under way.
pub struct Job {
    /// What its owner knows it by.
    pub number: usize,
    /// Of the choices that have ended.
    pub usage: Usage,
    pub draft: Tally,
    /// It is not to go on for now.
    pub is_held: bool,
    /// Where it writes.
    pub choices: Option<Choices>,
}

impl Engine {
    /// Computes no more of a request until it is let go on, but for what others would have to wait for.
    pub fn hold(&mut self, request: usize, is_held: bool) {
        if let Some(job) = self.job_mut(request) {
            job.is_held = is_held;
        }
    }

    /// Drops a request. What its sequences hold stays valid, and that of its first choice, of those that had not ended, is what
    /// was computed last.
    pub fn cancel_one(&mut self, request: usize) {
        let mut lanes: Vec<usize> = self.lanes_of(request).collect();
        lanes.sort_by_key(|lane| Reverse(self.lane(*lane).1.map(Generation::choice)));
        for lane in lanes {
            self.select(lane);
            self.stop();
        }
        self.lanes.jobs.retain(|job| job.number != request);
    }

    pub(super) fn job(&self, number: usize) -> Option<&Job> {
        self.lanes.jobs.iter().find(|job| job.number == number)
    }

    pub(super) fn job_mut(&mut self, number: usize) -> Option<&mut Job> {
        self.lanes.jobs.iter_mut().find(|job| job.number == number)
    }

    /// The same of one that is known to run.
    pub(super) fn running_job(&mut self, number: usize) -> Result<&mut Job> {
        self.job_mut(number).ok_or_else(|| ChordError::internal("a lane is at work for a request that has ended"))
    }

    /// The lanes that are at work for a request.
    pub(super) fn lanes_of(&self, job: usize) -> impl Iterator<Item = usize> + '_ {
        self.running().filter(move |lane| self.lane(*lane).1.is_some_and(|generation| generation.job == job))
    }

    /// Lets choices that are still to come begin, as far as lanes are free. An error is that of the request.
    pub(super) fn begin_choices(&mut self) -> std::result::Result<(), (usize, ChordError)> {
        let next =
            |job: &Job| Some((job.number, job.choices.as_ref().filter(|choices| choices.has_next())?.prompt.clone()));
        while let Some((number, prompt)) = self.lanes.jobs.iter().find_map(next) {
            let scales = self.scales.clone();
            let Some(lane) = self.lane_for(&prompt, &scales) else { break };
            self.select(lane);
            self.share(&prompt, &scales);
            if self.sequence.scales != scales {
                self.go_back(0);
                self.sequence.scales = scales;
            }
            self.sequence.goes_on = true;
            let purpose = self.next_choice(number).map_err(|error| (number, error))?;
            self.generation = Some(Generation { job: number, purpose, since: self.next_number() });
        }
        Ok(())
    }

    /// Begins the next choice of a request in the current lane.
    fn next_choice(&mut self, job: usize) -> Result<Purpose> {
        self.sequence.drafter.begin();
        let Engine { opened, lanes, .. } = self;
        let choices = lanes.jobs.iter_mut().find(|other| other.number == job).and_then(|job| job.choices.as_mut());
        let choices = choices.ok_or_else(|| ChordError::internal("a request without choices begins another one"))?;
        choices.begin(&opened.tokenizer).map(Purpose::Text)
    }

    /// A choice has ended: the current lane goes on with the next one. Otherwise it is free, or ends the request if no other
    /// lane is at work for that. A lane that another request waits for is left to it, but for a request's last.
    pub(super) fn end_choice(&mut self, mut generation: Generation) -> Result<()> {
        self.sequence.pass = None;
        self.drop_ahead();
        let number = generation.job;
        let is_last = self.lanes_of(number).next().is_none();
        let may_stay = is_last || !self.lanes.is_awaited;
        let draft = self.sequence.drafter.tally();
        let job = self.running_job(number)?;
        generation.count(&mut job.usage);
        job.draft += draft;
        if may_stay && job.choices.as_ref().is_some_and(Choices::has_next) {
            generation.purpose = self.next_choice(number)?;
        } else if !is_last {
            return Ok(());
        }
        self.generation = Some(generation);
        Ok(())
    }

    /// The other lane whose sequence holds most of a text's beginning, where that is more than the current one's holds.
    pub(super) fn holder(&self, text: &[u32], scales: &[f32]) -> Option<usize> {
        let held = |lane: usize| self.lane(lane).0.holds(text, scales);
        let most = self.other_lanes().max_by_key(|lane| held(*lane))?;
        (held(most) > self.sequence.holds(text, scales)).then_some(most)
    }

    /// Gives the sequence of the current lane what another one holds of a text's beginning, where that is more.
    pub(super) fn share(&mut self, text: &[u32], scales: &[f32]) {
        let Some(from) = self.holder(text, scales) else { return };
        let source = self.lane(from).0;
        let tokens = source.copied_with(source.common(text));
        if self.compute.backend.fork(from, tokens) {
            let Engine { lanes, sequence, .. } = self;
            sequence.take_after(&lanes.parked[from].sequence, tokens);
        }
    }
}
