//! The pager under a seeded simulator: latency, reordering, loss, cancelled passes, a ring that grows; and
//! against LRU.

use std::collections::{BTreeMap, VecDeque};
use wasm_chord::engine::{Bound, MemoryPlan};
use wasm_chord::pager::{Action, Pace, Pager, Placement, SourceRange, State, spread};
use wasm_chord::program::KvFormat;

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
        let place = |group| match random.below(5) {
            _ if group == 0 || group == groups - 1 => Placement::Pinned,
            0 => Placement::Pinned,
            1 => Placement::Disk,
            2 => Placement::Mixture,
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

    /// The ring grows, for a layer that no longer stays.
    fn lengthen(&mut self) {
        let mut pinned = (1..self.pager.len() - 1).filter(|g| self.placements[*g] == Placement::Pinned);
        let given_up = pinned.rfind(|g| self.pager.state(*g) == State::Resident);
        self.ring += 1;
        self.pager.lengthen(self.ring, given_up.as_slice());
        if let Some(group) = given_up {
            self.placements[group] = Placement::Ring;
            self.forget(group);
        }
        self.check_ring();
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
fn ranges_that_failed_go_out_again_only_while_their_group_is_waited_for() {
    let range = |group, offset| SourceRange { group, part: 0, offset, length: 10 };
    let ranges = (0..6).map(|group| vec![range(group, 0), range(group, 10)]).collect();
    let mut placements = [Placement::Ring; 6];
    (placements[0], placements[5]) = (Placement::Pinned, Placement::Pinned);
    let mut pager = Pager::new(ranges, &placements, 2);
    // Asked for by a pager before this one, which waits for nothing yet.
    pager.failed(range(4, 0));
    assert_eq!(pager.poll(), Some(Action::Fetch(range(0, 0))));
    assert_eq!(pager.poll(), Some(Action::Fetch(range(0, 10))));
    pager.failed(range(0, 0));
    assert_eq!(pager.poll(), Some(Action::Fetch(range(0, 0))));
    // Failed twice, since it was on its way twice, and then there after all.
    (0..2).for_each(|_| pager.failed(range(0, 0)));
    pager.arrived(0);
    assert_eq!(pager.poll(), Some(Action::Fetch(range(1, 0))));
    assert_eq!(pager.state(4), State::Absent);
}

#[test]
fn ten_thousand_seeds_violate_nothing() {
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        for _ in 0..4 {
            world.pass();
            if world.random.below(4) == 0 {
                world.lengthen();
            }
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
    let placements = places(&spread(&vec![1; groups], (slots - ring) as u64));
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

fn places(stays: &[bool]) -> Vec<Placement> {
    stays.iter().map(|stays| if *stays { Placement::Pinned } else { Placement::Ring }).collect()
}

/// What steady decoding came to, for each pass.
#[derive(Debug)]
struct Steady {
    time: f64,
    hits: f64,
    waits: f64,
}

/// Requests that are under way at a time.
const CONNECTIONS: usize = 4;

/// Passes over groups of one byte each, at a steady pace: answers come in the order in which they were asked
/// for, over one way.
fn decode(placements: &[Placement], ring: usize, pace: &Pace) -> Steady {
    const PASSES: usize = 8;
    let groups = placements.len();
    let ranges = (0..groups).map(|group| vec![SourceRange { group, part: 0, offset: 0, length: 1 }]).collect();
    let mut pager = Pager::new(ranges, placements, ring);
    let mut flight: VecDeque<(f64, usize)> = VecDeque::new();
    let (mut now, mut free) = (0.0f64, 0.0f64);
    let send = |pager: &mut Pager, flight: &mut VecDeque<(f64, usize)>, free: &mut f64, now: f64| {
        while flight.len() < CONNECTIONS {
            match pager.poll() {
                Some(Action::Fetch(range)) => {
                    *free = free.max(now + pace.latency) + pace.per_byte;
                    flight.push_back((*free, range.group));
                }
                Some(Action::Evict(_)) => {}
                None => break,
            }
        }
    };
    let mut warm = (0.0, pager.counters());
    for visit in 0..2 * PASSES * groups {
        if visit == PASSES * groups {
            warm = (now, pager.counters());
        }
        let group = visit % groups;
        send(&mut pager, &mut flight, &mut free, now);
        while !pager.enter(group) {
            let (due, arrived) = flight.pop_front().expect("what is waited for is on its way");
            now = now.max(due);
            pager.arrived(arrived);
            send(&mut pager, &mut flight, &mut free, now);
        }
        now += pace.compute;
        while let Some((due, arrived)) = flight.front().copied().filter(|(due, _)| *due <= now) {
            flight.pop_front();
            pager.arrived(arrived);
            send(&mut pager, &mut flight, &mut free, due);
        }
        let _ = pager.leave(group);
    }
    let (counters, passes) = (pager.counters(), PASSES as f64);
    Steady {
        time: (now - warm.0) / passes,
        hits: (counters.hits - warm.1.hits) as f64 / passes,
        waits: (counters.sync_loads - warm.1.sync_loads) as f64 / passes,
    }
}

/// A model of `layers` under a ceiling of `slots` layers, with embedding and head of no size.
fn plan(layers: usize, slots: usize, ring: usize) -> MemoryPlan {
    let stays = spread(&vec![1; layers], (slots - ring) as u64);
    let placements = [vec![Placement::Pinned], places(&stays), vec![Placement::Pinned]].concat();
    MemoryPlan {
        weight_bytes: layers as u64,
        kv_cache: KvFormat::default(),
        kv_bytes: 0,
        scratch_bytes: 0,
        budget_bytes: slots as u64,
        bound: Bound::Caller,
        least_bytes: 2,
        placements,
        read_bytes: 0,
        ring,
        pinned_layers: slots - ring,
        layers,
        passing_bytes: (layers + ring - slots) as u64,
        rereads: false,
        expert_bytes: 0,
        expert_cache_bytes: 0,
        threads: 1,
        lanes: 1,
        lane_bytes: 0,
    }
}

fn sizes(layers: usize) -> Vec<u64> {
    [vec![0], vec![1; layers], vec![0]].concat()
}

#[test]
fn the_ring_is_as_long_as_makes_passes_short() {
    let mut random = Random(3);
    let (mut sum, mut lengthened) = (0.0, 0);
    const WORLDS: usize = 1000;
    for _ in 0..WORLDS {
        let layers = 8 + random.below(40) as usize;
        let slots = 6 + random.below(layers as u64 - 6) as usize;
        let mut time = || 10f64.powf(random.below(300) as f64 / 100.0);
        let pace = Pace { latency: time(), per_byte: time(), compute: time() };
        let fixed: Vec<f64> =
            (2..=4).map(|ring| decode(&plan(layers, slots, ring).placements, ring, &pace).time).collect();
        let mut chosen = plan(layers, slots, 2);
        let given_up = chosen.lengthen(&sizes(layers), &pace);
        assert_eq!(given_up.len(), chosen.ring - 2);
        lengthened += usize::from(!given_up.is_empty());
        let time = decode(&chosen.placements, chosen.ring, &pace).time;
        let best = fixed.iter().copied().fold(f64::INFINITY, f64::min);
        sum += time / best;
        assert!(time <= 1.25 * best, "{layers} {slots} {pace:?}: {time} with {}, {fixed:?}", chosen.ring);
    }
    println!("{lengthened} of {WORLDS} rings grew; passes took {:.3} of the best ring's", sum / WORLDS as f64);
    assert!(lengthened > WORLDS / 20, "{lengthened} rings grew");
    assert!(sum / (WORLDS as f64) < 1.03, "{}", sum / WORLDS as f64);
}

#[test]
fn nothing_waits_where_the_source_is_fast_enough() {
    let (layers, slots) = (28, 14);
    let plan = plan(layers, slots, 2);
    let passing = (layers - plan.pinned_layers) as f64;
    let groups = plan.placements.len() as f64;
    // Fast enough: what passes comes in the time of the computation, with a tenth to spare.
    let fast = Pace { latency: 0.1, per_byte: 0.9 * groups / passing, compute: 1.0 };
    let steady = decode(&plan.placements, plan.ring, &fast);
    assert_eq!((steady.waits, steady.hits), (0.0, groups), "{steady:?}");
    // Three times too slow: what is pinned is found, and the source never rests.
    let slow = Pace { per_byte: 3.0 * fast.per_byte, ..fast };
    let steady = decode(&plan.placements, plan.ring, &slow);
    assert!(steady.hits >= plan.pinned_layers as f64 + 2.0, "{steady:?}");
    assert!(steady.time <= 1.01 * passing * slow.per_byte, "{steady:?}");
}

#[test]
fn layers_that_are_fetched_ahead_are_not_waited_for() {
    let (layers, slots) = (28, 14);
    let steady = |ring, per_byte| {
        let plan = plan(layers, slots, ring);
        decode(&plan.placements, ring, &Pace { latency: 0.1, per_byte, compute: 1.0 })
    };
    let (prefetching, alone) = (steady(2, 1.7), steady(1, 1.7));
    assert_eq!((prefetching.waits, alone.waits), (0.0, 14.0), "each but the one that the pass before left");
    assert!(alone.time > 1.4 * prefetching.time, "{alone:?}, {prefetching:?}");
    // From a slow source every layer is late, but by less.
    let (prefetching, alone) = (steady(2, 3.0), steady(1, 3.0));
    assert!(prefetching.waits > 14.0 && prefetching.time < 0.85 * alone.time, "{alone:?}, {prefetching:?}");
}

#[test]
fn what_stays_lies_where_the_source_need_not_rest() {
    let mut best = 1.0f64;
    for (layers, slots) in [(16, 8), (28, 14), (32, 10), (24, 20)] {
        for per_byte in [0.5, 1.0, 1.5, 2.0, 3.0, 5.0] {
            let pace = Pace { latency: 0.2, per_byte, compute: 1.0 };
            let spread = plan(layers, slots, 2);
            let first: Vec<bool> = (0..layers + 2).map(|g| g == 0 || g > layers || g <= slots - 2).collect();
            let (even, first) = (decode(&spread.placements, 2, &pace).time, decode(&places(&first), 2, &pace).time);
            assert!(even <= 1.02 * first, "{layers} {slots} {per_byte}: {even} against {first}");
            best = best.max(first / even);
        }
    }
    println!("up to {best:.2} times as fast as with the first layers pinned");
    assert!(best > 1.3, "{best}");
}
