//! Which bytes of the model are where, and which come next: pure policy without IO or clock.
//!
//! A model is a cycle of groups (embedding, layers, head) that every pass visits in order. Pinned groups
//! stay in memory; the others pass through a ring of a few slots and leave it as soon as they were
//! used, since by then they are the ones needed last (Belady's choice for a cycle). Prefetch walks
//! ahead of the computation as far as the ring has room.

mod intervals;
mod pace;
mod popular;
mod ranges;

pub use intervals::Intervals;
pub use pace::{Pace, spread};
pub use popular::Popular;
pub use ranges::{RANGE_BYTES_MAX, SourceRange, group_ranges};

use std::collections::VecDeque;

/// What the pager knows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in memory, and nobody fetches it.
    Absent,
    /// Memory is allocated and ranges are on their way.
    Fetching,
    /// All bytes are there.
    Resident,
}

/// Where a group's weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In memory of the group's own.
    Pinned,
    /// In memory that groups pass on to one another.
    Ring,
    /// Vectors in memory, matrices on disk.
    Disk,
    /// Of a mixture: experts on disk, all else in memory.
    Mixture,
}

impl Placement {
    /// Whether a part of the group stays on disk and is read from there while it is used.
    pub fn reads_disk(self) -> bool {
        match self {
            Placement::Disk | Placement::Mixture => true,
            Placement::Pinned | Placement::Ring => false,
        }
    }
}

/// Counters of `EngineStats.layers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Visits that found their group in memory, of a mixture all but experts.
    pub hits: u64,
    /// Visits that had to wait.
    pub sync_loads: u64,
    /// Visits whose matrices are read from disk while they are multiplied: neither found nor waited for.
    pub direct: u64,
    /// Groups whose bytes had all come before the visit.
    pub prefetched: u64,
    /// Groups whose memory another one got.
    pub evictions: u64,
}

impl Counters {
    /// Visits after which the owner gets a turn: they gave memory back, or took time to read.
    pub fn pauses(&self) -> u64 {
        self.evictions + self.direct
    }
}

/// What the owner of the memory must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Free the memory of this group.
    Evict(usize),
    /// Fetch this range; the first of a group also means: allocate it.
    Fetch(SourceRange),
}

struct Group {
    ranges: Vec<SourceRange>,
    placement: Placement,
    state: State,
    /// Ranges already given out.
    given: usize,
    waited: bool,
}

/// The policy over one model's groups.
pub struct Pager {
    groups: Vec<Group>,
    ring: usize,
    /// The group that is visited next.
    position: usize,
    /// Ranges that failed and go out again first.
    failed: VecDeque<SourceRange>,
    counters: Counters,
}

impl Pager {
    /// A pager over groups with these ranges. Those of the ring share `ring` slots.
    pub fn new(ranges: Vec<Vec<SourceRange>>, placements: &[Placement], ring: usize) -> Pager {
        assert_eq!(ranges.len(), placements.len());
        assert!(ring > 0 || !placements.contains(&Placement::Ring), "groups of the ring need one");
        let group = |(ranges, placement): (Vec<SourceRange>, &Placement)| {
            let state = if ranges.is_empty() { State::Resident } else { State::Absent };
            Group { ranges, placement: *placement, state, given: 0, waited: false }
        };
        Pager {
            groups: ranges.into_iter().zip(placements).map(group).collect(),
            ring,
            position: 0,
            failed: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The same, before the first visit of which `group` is the next one that is needed.
    pub fn starting_at(self, group: usize) -> Pager {
        assert!(group < self.groups.len());
        Pager { position: group, ..self }
    }

    /// The state of a group.
    pub fn state(&self, group: usize) -> State {
        self.groups[group].state
    }

    /// Whether what memory a group takes once it came stays its own.
    pub fn stays(&self, group: usize) -> bool {
        self.groups[group].placement != Placement::Ring
    }

    /// Number of groups: two at least, embedding and head.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Slots of the ring.
    pub fn ring(&self) -> usize {
        self.ring
    }

    /// The counters so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Lengthens the ring to `slots`. For that these groups, which are in memory, no longer stay: they leave
    /// it now.
    pub fn lengthen(&mut self, slots: usize, given_up: &[usize]) {
        self.ring = slots;
        for group in given_up {
            assert!(self.stays(*group) && self.state(*group) == State::Resident, "only what stays can be given up");
            self.groups[*group].placement = Placement::Ring;
            self.evict(*group);
        }
    }

    /// Groups in the order of their next visits.
    fn upcoming(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, position) = (self.groups.len(), self.position);
        (0..count).map(move |step| (position + step) % count)
    }

    /// The next thing to do, if there is one now.
    pub fn poll(&mut self) -> Option<Action> {
        while let Some(range) = self.failed.pop_front() {
            if self.groups[range.group].state == State::Fetching {
                return Some(Action::Fetch(range));
            }
        }
        let group = self.upcoming().find(|g| self.groups[*g].given < self.groups[*g].ranges.len())?;
        if self.groups[group].state == State::Absent {
            if let Some(victim) = self.crowded(group)? {
                self.evict(victim);
                return Some(Action::Evict(victim));
            }
            self.groups[group].state = State::Fetching;
        }
        let group = &mut self.groups[group];
        group.given += 1;
        Some(Action::Fetch(group.ranges[group.given - 1].clone()))
    }

    /// Whether `group` may come in: `None` if it must wait, `Some(None)` if there is room,
    /// `Some(Some(victim))` if a group that is needed later must leave first.
    fn crowded(&self, group: usize) -> Option<Option<usize>> {
        if self.stays(group) {
            return Some(None);
        }
        let in_ring = |g: &usize| !self.stays(*g) && self.state(*g) != State::Absent;
        let held: Vec<usize> = self.upcoming().filter(in_ring).collect();
        if held.len() < self.ring {
            return Some(None);
        }
        // Held groups come in the order of their visits: only one that is visited after `group` may go.
        let order = |wanted: usize| self.upcoming().position(|g| g == wanted);
        let last = *held.iter().rev().find(|g| self.groups[**g].state == State::Resident)?;
        (order(last) > order(group)).then_some(Some(last))
    }

    fn evict(&mut self, group: usize) {
        self.groups[group].state = State::Absent;
        self.groups[group].given = 0;
        self.counters.evictions += 1;
    }

    /// All bytes of a group are there.
    pub fn arrived(&mut self, group: usize) {
        assert_eq!(self.groups[group].state, State::Fetching, "only a group that is fetched arrives");
        self.groups[group].state = State::Resident;
        if !self.groups[group].waited {
            self.counters.prefetched += 1;
        }
    }

    /// A range did not come; it goes out again if its group is still waited for. It is not where another pager
    /// asked for it, or where what came twice completed the group.
    pub fn failed(&mut self, range: SourceRange) {
        if self.groups[range.group].state == State::Fetching {
            self.failed.push_back(range);
        }
    }

    /// The computation wants to visit `group`. True: go on. False: wait until it arrives.
    pub fn enter(&mut self, group: usize) -> bool {
        self.position = group;
        if self.groups[group].state == State::Resident {
            if !std::mem::take(&mut self.groups[group].waited) {
                match self.groups[group].placement {
                    Placement::Disk => self.counters.direct += 1,
                    _ => self.counters.hits += 1,
                }
            }
            return true;
        }
        if !self.groups[group].waited {
            self.groups[group].waited = true;
            self.counters.sync_loads += 1;
        }
        false
    }

    /// The visit of `group` is over, and the next one follows. True: its memory is to be freed.
    #[must_use]
    pub fn leave(&mut self, group: usize) -> bool {
        self.position = (group + 1) % self.groups.len();
        let leaves = !self.stays(group) && self.unpinned() > self.ring;
        if leaves {
            self.evict(group);
        }
        leaves
    }

    /// Groups of the ring. When they all fit it nothing needs to leave.
    fn unpinned(&self) -> usize {
        (0..self.len()).filter(|g| !self.stays(*g)).count()
    }
}
