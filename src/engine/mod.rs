//! The state machine that joins header, tokenizer, weights, backend and sampler: events in, actions out.
//!
//! The owner feeds a header, fetches what [`Engine::want`] names and hands it to [`Engine::supply`],
//! begins a request and calls [`Engine::step`] until it is done. Nothing here waits, reads a clock or
//! draws random numbers.

mod ahead;
mod backend;
mod continuation;
mod device;
mod draft;
mod forward;
mod generate;
mod memory;
mod open;
mod request;

pub use open::HeaderReader;
pub use request::{Moment, Request};

use crate::cpu::DiskReader;
use crate::error::{ChordError, Result};
use crate::exec::Wanted;
use crate::model::Config;
use crate::pager::{Action, Pace, Pager, Placement, SourceRange, State, group_ranges};
use crate::program::Program;
use crate::template::{ChatTemplates, ControlTexts};
use crate::tokenizer::Tokenizer;
use ahead::Ahead;
use backend::Backend;
use draft::Drafter;
use forward::{Forward, Progress};
use generate::Generation;
use std::ops::Range;

pub use draft::Tally;
pub use generate::{Event, FinishReason, Usage};
pub use memory::{Bound, MemoryPlan, OpenOptions};

/// A model that is open: it may answer before its bytes are there.
pub struct Engine {
    config: Config,
    program: Program,
    tokenizer: Tokenizer,
    /// The file's chat templates.
    template: ChatTemplates,
    /// Texts of control tokens, which must not come out of messages.
    controls: ControlTexts,
    info: serde_json::Value,
    plan: MemoryPlan,
    pager: Pager,
    /// What comes ahead of the first group, if that comes last.
    ahead: Option<Ahead>,
    /// Weights by their place in the source, to find where a piece of a file belongs.
    places: Vec<Place>,
    backend: Backend,
    options: OpenOptions,
    /// Reads weights that stay on disk.
    disk: Option<DiskReader>,
    /// The tokens whose keys and values are in the cache.
    cached: Vec<u32>,
    forward: Option<Forward>,
    /// The pass after the one under way was sent already.
    is_sent_ahead: bool,
    generation: Option<Generation>,
    drafter: Drafter,
    peak_bytes: u64,
    #[cfg(feature = "gpu")]
    device: device::DeviceState,
}

/// A weight's bytes in the source.
struct Place {
    part: u16,
    start: u64,
    end: u64,
    weight: crate::program::WeightId,
}

impl Engine {
    /// What `Engine.model` shows.
    pub fn info(&self) -> &serde_json::Value {
        &self.info
    }

    /// The next range to fetch; `None` if nothing is wanted now. Each is named once: what does not come
    /// is handed back by [`Engine::refetch`].
    pub fn want(&mut self) -> Result<Option<SourceRange>> {
        self.verify()?;
        while let Some(action) = self.pager.poll() {
            match action {
                Action::Evict(group) => self.backend.evict(group),
                Action::Fetch(range) => {
                    self.backend.allocate(&self.program, range.group, self.plan.placements[range.group])?;
                    self.peak_bytes = self.peak_bytes.max(self.resident_bytes());
                    return Ok(Some(range));
                }
            }
        }
        Ok(None)
    }

    /// The next few bytes to fetch before anything else: the running pass waits for them, and no more than
    /// them should be fetched. Each piece is named once, as by [`Engine::want`].
    pub fn want_ahead(&mut self) -> Option<SourceRange> {
        self.ahead.as_mut().and_then(Ahead::poll)
    }

    /// A range that [`Engine::want_ahead`] named could not be fetched and is wanted again.
    pub fn refetch_ahead(&mut self, range: SourceRange) {
        if let Some(ahead) = &mut self.ahead {
            ahead.failed(range);
        }
    }

    /// A range that [`Engine::want`] named could not be fetched and is wanted again.
    pub fn refetch(&mut self, range: SourceRange) {
        self.pager.failed(range);
    }

    /// Takes a piece of the source, of any size and in any order. `copy(range of the piece, destination)`
    /// moves bytes, so that they cross from JavaScript straight to their place. Bytes that no weight
    /// needs now are passed over, and so are those that are there already. An error of `copy` ends it.
    pub fn supply<E>(
        &mut self,
        part: u16,
        offset: u64,
        length: usize,
        mut copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if let Some(ahead) = &mut self.ahead {
            ahead.supply(part, offset, length, &mut copy)?;
        }
        let end = offset.saturating_add(length as u64);
        let first = self.places.partition_point(|p| (p.part, p.end) <= (part, offset));
        for place in self.places[first..].iter().take_while(|p| p.part == part && p.start < end) {
            let group = self.program[place.weight].group;
            if self.pager.state(group) != State::Fetching {
                continue;
            }
            let within = offset.max(place.start) - place.start..end.min(place.end) - place.start;
            // A piece is in memory already, so its part of a weight is a usize.
            let range = within.start as usize..within.end as usize;
            let source = (place.start + within.start - offset) as usize;
            self.backend.fill(&self.program, place.weight, range.clone(), |gap, destination| {
                let from = source + (gap.start - range.start);
                copy(from..from + gap.len(), destination)
            })?;
            if self.backend.resident(group) {
                self.pager.arrived(group);
            }
        }
        Ok(())
    }

    /// Sets what reads a part's bytes from disk, for groups of [`Placement::Disk`].
    pub fn set_disk(&mut self, reader: DiskReader) {
        self.backend.set_disk(reader.clone());
        self.disk = Some(reader);
    }

    /// A wanted range is on disk and was verified. What has to be in memory is read from there. False if
    /// that fails.
    pub fn supply_from_disk(&mut self, range: &SourceRange) -> bool {
        let Some(disk) = self.disk.clone() else { return false };
        let read = |piece: Range<usize>, destination: &mut [u8]| {
            disk(range.part, range.offset + piece.start as u64, destination).then_some(()).ok_or(())
        };
        self.supply(range.part, range.offset, range.length as usize, read).is_ok()
    }

    /// Takes how the last passes went. The ring is lengthened where that makes them shorter, unless the caller
    /// said how long it is.
    pub fn measured(&mut self, pace: &Pace) {
        let stays = |group: &usize| self.pager.stays(*group);
        let settled = (0..self.pager.len()).filter(stays).all(|group| self.pager.state(group) == State::Resident);
        let is_fixed = self.plan.ring == 0 || self.options.prefetch_distance.is_some() || !self.backend.lengthens();
        // In the middle of the layers one of them may be in use.
        let is_amid = self.computing().is_some_and(|group| group + 1 < self.pager.len());
        if is_fixed || is_amid || !settled {
            return;
        }
        let sizes: Vec<u64> = self.program.groups.iter().map(|group| group.bytes as u64).collect();
        let given_up = self.plan.lengthen(&sizes, pace);
        self.pager.lengthen(self.plan.ring, &given_up);
        given_up.into_iter().for_each(|group| self.backend.release(group));
    }

    /// Goes on without the disk: matrices that do not fit the ceiling pass through the ring from now on.
    pub fn leave_disk(&mut self) -> Result<()> {
        self.options.from_disk = false;
        self.attach_cpu()
    }

    /// The state of each group: the embedding, the layers, the head.
    pub fn groups(&self) -> impl Iterator<Item = State> + '_ {
        (0..self.pager.len()).map(|group| self.pager.state(group))
    }

    /// The group that the running pass computes, or waits for, next.
    pub fn computing(&self) -> Option<usize> {
        self.forward.as_ref().map(Forward::group)
    }

    /// Where the bytes of every group lie in the source.
    pub fn ranges(&self) -> impl Iterator<Item = SourceRange> + '_ {
        self.program.groups.iter().enumerate().flat_map(|(number, group)| group_ranges(&self.program, number, group))
    }

    /// Where a group is kept.
    pub fn placement(&self, group: usize) -> Placement {
        self.plan.placements[group]
    }

    /// Bytes of weights, cache and scratch that are allocated.
    fn resident_bytes(&self) -> u64 {
        self.backend.weight_bytes() + self.plan.kv_bytes + self.plan.scratch_bytes
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// `EngineStats.memory` and `.layers`, as JSON.
    pub fn stats(&self) -> serde_json::Value {
        let counters = self.pager.counters();
        let layers = 1..self.pager.len() - 1;
        let pinned = layers.clone().filter(|g| self.placement(*g) == Placement::Pinned).count();
        #[allow(unused_mut)] // Without a GPU nothing is added.
        let mut stats = serde_json::json!({
            "device": self.backend.name(),
            "memory": {
                "residentBytes": self.resident_bytes(),
                "peakResidentBytes": self.peak_bytes.max(self.resident_bytes()),
                "budgetBytes": self.plan.budget_bytes,
                "kvBytes": self.plan.kv_bytes,
            },
            "layers": {
                "total": layers.len(),
                "pinned": pinned,
                "passingBytes": self.plan.passing(&self.program),
                "ring": self.pager.ring(),
                "hits": counters.hits,
                "syncLoads": counters.sync_loads,
                "direct": counters.direct,
                "prefetched": counters.prefetched,
                "evictions": counters.evictions,
            },
        });
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.device_stats() {
            stats["gpu"] = gpu;
        }
        stats
    }

    /// The logits at every position of a sequence of tokens, for tests: [tokens, vocabulary]. All weights
    /// must be there.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(tokens.len() * self.program.vocabulary);
        self.begin_logits(tokens)?;
        while !self.step_logits(&mut all)? {
            self.backend.wait();
        }
        Ok(all)
    }

    /// Begins to compute them.
    pub fn begin_logits(&mut self, tokens: &[u32]) -> Result<()> {
        self.cancel();
        self.cached.clear();
        self.start_forward(tokens, 0, forward::Output::Every, Wanted::Logits)
    }

    /// Appends those that are there to `all`; true when that is all of them.
    pub fn step_logits(&mut self, all: &mut Vec<f32>) -> Result<bool> {
        match self.advance(&mut |_, logits: &[f32]| all.extend_from_slice(logits))? {
            Progress::Done => Ok(true),
            Progress::More | Progress::Device => Ok(false),
            Progress::Wait(group) => Err(ChordError::internal(format!("the weights of group {group} are not there"))),
            Progress::Lost => Err(ChordError::internal("the device was lost")),
        }
    }
}
