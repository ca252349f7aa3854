//! The state machine that joins header, tokenizer, weights, backend and sampler: events in, actions out.
//!
//! The owner feeds a header, fetches what [`Engine::want`] names and hands it to [`Engine::supply`],
//! begins a request and calls [`Engine::step`] until it is done. Nothing here waits, reads a clock or
//! draws random numbers.

mod adapters;
mod backend;
mod choices;
mod compute;
mod continuation;
mod early_rows;
mod event;
mod follower;
mod forward;
mod generate;
mod guide;
mod inputs;
mod jobs;
mod lanes;
mod loading;
mod memory;
mod open;
mod opened;
mod overflow;
mod pooling;
mod reading;
mod report;
mod request;
mod saving;
mod sequence;
mod shelf;
mod weight_ranges;

pub use adapters::AdapterScale;
pub use open::HeaderReader;
pub use request::{Moment, Request};

use crate::constrain::Constrainer;
use crate::cpu::{DiskReader, Peers};
use crate::error::{ChordError, ErrorCode, Result};
use crate::exec::{Poll, Wanted};
use crate::pager::{Pace, Placement, SourceRange, State, group_ranges};
use crate::state::Rewind;
use crate::template::CivilTime;
use crate::tokenizer::Tokenizer;
use compute::Compute;
use early_rows::EarlyRows;
use forward::{Forward, Progress};
use generate::{Generation, Prepared};
use lanes::Lanes;
use loading::Loading;
use opened::Opened;
use sequence::Sequence;
use shelf::Shelf;
use std::ops::Range;
use weight_ranges::Piece;

pub use event::{Event, FinishReason, Usage};
pub use follower::Follower;
pub use memory::{Bound, MemoryPlan, OpenOptions};
pub use overflow::ContextOverflow;
pub use report::{GroupState, LayerStats, MemoryStats, ModelDescription, ModelInfo, OpenPlan, SequenceStats, Stats};
pub use sequence::Tally;
pub use shelf::Exchange;

/// A model that is open: it may answer before its bytes are there.
pub struct Engine {
    opened: Opened,
    loading: Loading,
    compute: Compute,
    /// The sequence of the current lane, and its request.
    sequence: Sequence,
    generation: Option<Generation>,
    /// The other lanes.
    lanes: Lanes,
    /// What is known of the sequences that were computed before.
    shelf: Shelf,
    /// A request that was read.
    prepared: Option<Prepared>,
    /// How much of each adapter the backend computes with.
    scales: Vec<f32>,
    /// What prepares grammars, once there is one.
    constrainer: Option<Box<dyn Constrainer>>,
}

impl Engine {
    /// The next range to fetch; `None` if nothing is wanted now. Each is named once: what does not come
    /// is handed back by [`Engine::refetch`].
    pub fn want(&mut self) -> Result<Option<SourceRange>> {
        self.verify()?;
        self.loading.want(&self.opened.program, &mut self.compute.backend)
    }

    /// The next few bytes to fetch before anything else: the running pass waits for them, and no more than
    /// them should be fetched. Each piece is named once, as by [`Engine::want`].
    pub fn want_early(&mut self) -> Option<SourceRange> {
        self.loading.early.as_mut().and_then(EarlyRows::poll)
    }

    /// A range that [`Engine::want_early`] named could not be fetched and is wanted again.
    pub fn refetch_early(&mut self, range: SourceRange) {
        if let Some(early) = &mut self.loading.early {
            early.failed(range);
        }
    }

    /// A range that [`Engine::want`] named could not be fetched and is wanted again.
    pub fn refetch(&mut self, range: SourceRange) {
        self.loading.pager.failed(range);
    }

    /// Takes a piece of the source, of any size and in any order. `copy(range of the piece, destination)`
    /// moves bytes, so that they cross from JavaScript straight to their place. Bytes that no weight
    /// needs now are passed over, and so are those that are there already. An error of `copy` ends it.
    pub fn supply<E>(
        &mut self,
        part: u16,
        offset: u64,
        length: usize,
        copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let piece = Piece { part, offset, length };
        self.loading.supply(&self.opened.program, &mut self.compute.backend, piece, copy)
    }

    /// Threads that compute: this one, and as many followers less one as are to be opened by
    /// [`HeaderReader::follow`].
    pub fn threads(&self) -> usize {
        self.compute.backend.threads()
    }

    /// Sets the way to the followers, before the first step.
    pub fn set_peers(&mut self, peers: Box<dyn Peers>) {
        self.compute.backend.set_peers(peers);
    }

    /// Values of the largest part that a thread hands to another.
    pub fn slice_values(&self) -> usize {
        self.compute.backend.slice_values()
    }

    /// Goes on with what another thread's part was missing for, as far as that goes. True when the next step finds
    /// nothing to wait for.
    pub fn go_on(&mut self) -> bool {
        self.compute.backend.poll() != Poll::Pending
    }

    /// Which bytes of a piece of the source follower number `shard` needs.
    pub fn deliveries(&self, shard: usize, part: u16, offset: u64, length: usize) -> Vec<Range<usize>> {
        self.loading.deliver(shard, Piece { part, offset, length })
    }

    /// Sets what reads a part's bytes from disk, for groups of which a part stays there.
    pub fn set_disk(&mut self, reader: DiskReader) {
        self.loading.set_disk(reader, &mut self.compute.backend);
    }

    /// A wanted range is on disk and was verified. What has to be in memory is read from there. False if
    /// that fails.
    pub fn supply_from_disk(&mut self, range: &SourceRange) -> bool {
        self.loading.supply_from_disk(&self.opened.program, &mut self.compute.backend, range)
    }

    /// Takes how the last passes went. The ring is lengthened where that makes them shorter, unless the caller
    /// said how long it is.
    pub fn measured(&mut self, pace: &Pace) {
        let computing = self.computing();
        self.loading.measured(&self.opened.program, &mut self.compute.backend, computing, pace);
    }

    /// Goes on without the disk: matrices that do not fit the ceiling pass through the ring from now on.
    pub fn leave_disk(&mut self) -> Result<()> {
        self.loading.options.from_disk = false;
        self.attach_cpu()
    }

    /// The state of each group: the embedding, the layers, the head.
    pub fn groups(&self) -> impl Iterator<Item = State> + '_ {
        (0..self.loading.pager.len()).map(|group| self.loading.pager.state(group))
    }

    /// The group that the running pass computes, or waits for, next.
    pub fn computing(&self) -> Option<usize> {
        self.joint_group().or_else(|| self.sequence.pass.as_ref().map(Forward::group))
    }

    /// Where the bytes of every group lie in the source.
    pub fn ranges(&self) -> impl Iterator<Item = SourceRange> + '_ {
        let program = &self.opened.program;
        program.groups.iter().enumerate().flat_map(|(number, group)| group_ranges(program, number, group))
    }

    /// Where a group is kept.
    pub fn placement(&self, group: usize) -> Placement {
        self.loading.plan.placements[group]
    }

    /// Sets what prepares grammars, before the first request that names one.
    pub fn set_constrainer(&mut self, constrainer: Box<dyn Constrainer>) {
        self.constrainer = Some(constrainer);
    }

    /// The bytes that each token adds to a text, for a [`Constrainer`]: none for those that add nothing.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.opened.program.vocabulary as u32).map(|token| self.opened.tokenizer.piece(token).unwrap_or_default())
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.opened.tokenizer
    }

    /// The text of a chat's prompt, from a JSON body.
    pub fn apply_chat_template(&self, json: &str, now: CivilTime) -> Result<String> {
        self.opened.apply_chat_template(json, now)
    }

    /// Tokens of a JSON string, or of a JSON array of messages as a chat's prompt.
    pub fn count_tokens(&self, json: &str, now: CivilTime) -> Result<usize> {
        self.opened.count_tokens(json, now)
    }

    /// The tokens that all prompts have in common which begin with this: a JSON string, or the JSON body of a chat
    /// whose messages others follow.
    pub fn prefix_tokens(&self, json: &str, now: CivilTime) -> Result<Vec<u32>> {
        self.opened.prefix_tokens(json, now)
    }

    /// The logits at every position of a sequence of tokens, for tests: [tokens, vocabulary]. All weights
    /// must be there.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(tokens.len() * self.opened.program.vocabulary);
        self.begin_logits(tokens)?;
        while !self.step_logits(&mut all)? {
            self.compute.backend.wait();
        }
        Ok(all)
    }

    /// From now on what a sequence has left behind goes back no further than this, for tests of states that
    /// cannot: keys and values that would have to be taken back are overwritten.
    pub fn limit_rewind(&mut self, rewind: Rewind) {
        self.sequence.limit_rewind(rewind);
    }

    /// Begins to compute them.
    pub fn begin_logits(&mut self, tokens: &[u32]) -> Result<()> {
        self.cancel();
        self.opened.check_logits()?;
        self.opened.check_tokens(tokens)?;
        self.start_forward(tokens, &[], 0, forward::Output::Every, Wanted::Logits)?;
        Ok(())
    }

    /// Appends those that are there to `all`; true when that is all of them.
    pub fn step_logits(&mut self, all: &mut Vec<f32>) -> Result<bool> {
        match self.advance(&mut |_, logits: &[f32]| all.extend_from_slice(logits))? {
            Progress::Done => Ok(true),
            Progress::More | Progress::Device => Ok(false),
            Progress::Wait(group) => Err(ChordError::internal(format!("the weights of group {group} are not there"))),
            Progress::Lost => Err(ChordError::new(ErrorCode::DeviceLost, "the device was lost")),
        }
    }
}
