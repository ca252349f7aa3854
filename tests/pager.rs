//! The pager under a seeded simulator: latency, reordering, loss, cancelled passes; and against LRU.

use std::collections::{BTreeMap, VecDeque};
use wasm_chord::pager::{Action, Pager, Placement, SourceRange, State};

/// A small reproducible generator (the constants are Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A source with a few connections: requests take time, finish out of order and sometimes fail.
struct Source {
    flight: Vec<(u64, SourceRange)>,
    connections: usize,
    latency: u64,
    loss_percent: u64,
}

/// The model, the pager and the bytes that have come.
struct World {
    pager: Pager,
    source: Source,
    random: Random,
    now: u64,
    needed: Vec<u64>,
    received: BTreeMap<(usize, u64), u64>,
    ring: usize,
    placements: Vec<Placement>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let groups = 3 + random.below(30) as usize;
        let place = |group| match random.below(4) {
            _ if group == 0 || group == groups - 1 => Placement::Pinned,
            0 => Placement::Pinned,
            1 => Placement::Disk,
            _ => Placement::Ring,
        };
        let placements: Vec<Placement> = (0..groups).map(place).collect();
        let ring = 2 + random.below(4) as usize;
        let ranges: Vec<Vec<SourceRange>> = (0..groups)
            .map(|group| {
                let count = 1 + random.below(4);
                (0..count)
                    .map(|i| SourceRange { group, part: 0, offset: group as u64 * 100 + i * 10, length: 10 })
                    .collect()
            })
            .collect();
        let source = Source {
            flight: Vec::new(),
            connections: 1 + random.below(5) as usize,
            latency: 1 + random.below(40),
            loss_percent: random.below(30),
        };
        let needed = ranges.iter().map(|r| r.iter().map(|r| r.length).sum()).collect();
        World {
            pager: Pager::new(ranges, &placements, ring),
            source,
            random,
            now: 0,
            needed,
            received: BTreeMap::new(),
            ring,
            placements,
        }
    }

    /// Sends what the pager wants, as far as connections are free, and checks what it may ask for.
    fn send(&mut self) {
        while self.source.flight.len() < self.source.connections {
            match self.pager.poll() {
                Some(Action::Fetch(range)) => {
                    assert_eq!(
                        self.pager.state(range.group),
                        State::Fetching,
                        "only a group that is coming is fetched"
                    );
                    let duplicate = self.source.flight.iter().any(|(_, r)| *r == range)
                        || self.received.contains_key(&(range.group, range.offset));
                    assert!(!duplicate, "a range is named once");
                    let due = self.now + 1 + self.random.below(self.source.latency);
                    self.source.flight.push((due, range));
                }
                Some(Action::Evict(group)) => self.forget(group),
                None => break,
            }
            self.check_ring();
        }
    }

    fn forget(&mut self, group: usize) {
        assert_eq!(self.placements[group], Placement::Ring, "what is pinned stays");
        self.received.retain(|(g, _), _| *g != group);
    }

    fn check_ring(&self) {
        let held = (0..self.pager.len())
            .filter(|g| self.placements[*g] == Placement::Ring && self.pager.state(*g) != State::Absent)
            .count();
        assert!(held <= self.ring, "the ring holds {held} of {}", self.ring);
    }

    /// Time passes: the earliest answer comes.
    fn receive(&mut self) {
        let next = (0..self.source.flight.len())
            .min_by_key(|i| self.source.flight[*i].0)
            .expect("the pager waits for something that is on its way");
        let (due, range) = self.source.flight.swap_remove(next);
        self.now = self.now.max(due);
        if self.random.below(100) < self.source.loss_percent {
            self.pager.failed(range);
            return;
        }
        let group = range.group;
        self.received.insert((group, range.offset), range.length);
        let have: u64 = self.received.range((group, 0)..(group + 1, 0)).map(|(_, length)| length).sum();
        if have == self.needed[group] {
            self.pager.arrived(group);
        }
    }

    /// One pass over all groups, or a part of one that is cancelled.
    fn pass(&mut self) {
        let last = if self.random.below(8) == 0 {
            self.random.below(self.pager.len() as u64) as usize
        } else {
            self.pager.len()
        };
        for group in 0..last {
            while !self.pager.enter(group) {
                self.send();
                self.receive();
            }
            self.send();
            assert_eq!(self.pager.state(group), State::Resident);
            let compute_until = self.now + self.random.below(10);
            while self.source.flight.iter().any(|(due, _)| *due <= compute_until) {
                self.receive();
                self.send();
            }
            self.now = compute_until.max(self.now);
            if self.pager.leave(group) {
                self.forget(group);
            }
            self.send();
        }
    }
}

#[test]
fn ten_thousand_seeds_violate_nothing() {
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        for _ in 0..4 {
            world.pass();
        }
        let counters = world.pager.counters();
        assert!(counters.hits + counters.sync_loads + counters.direct > 0);
    }
}

/// Hits of the least recently used policy over the same visits.
fn lru_hits(groups: usize, slots: usize, passes: usize) -> usize {
    let mut held = VecDeque::new();
    let mut hits = 0;
    for visit in (0..passes).flat_map(|_| 0..groups) {
        if let Some(at) = held.iter().position(|g| *g == visit) {
            held.remove(at);
            hits += 1;
        } else if held.len() == slots {
            held.pop_front();
        }
        held.push_back(visit);
    }
    hits
}

#[test]
fn a_cycle_hits_what_is_pinned_where_lru_hits_nothing() {
    let (groups, slots, ring, passes) = (18, 9, 3, 10);
    let place = |group| if group < slots - ring { Placement::Pinned } else { Placement::Ring };
    let placements: Vec<Placement> = (0..groups).map(place).collect();
    let ranges =
        (0..groups).map(|group| vec![SourceRange { group, part: 0, offset: group as u64, length: 1 }]).collect();
    let mut pager = Pager::new(ranges, &placements, ring);
    let mut loads = 0;
    for _ in 0..passes {
        for group in 0..groups {
            // A source that answers at once, but only when the computation waits: no prefetch at all.
            while !pager.enter(group) {
                if let Some(Action::Fetch(range)) = pager.poll() {
                    loads += 1;
                    pager.arrived(range.group);
                }
            }
            let _ = pager.leave(group);
        }
    }
    assert_eq!(lru_hits(groups, slots, passes), 0);
    assert_eq!(loads, groups + (passes - 1) * (groups - (slots - ring)));
}
