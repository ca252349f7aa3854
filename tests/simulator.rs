//! The engine, with a loader as the page's, under a seeded simulator: bytes that come late, in pieces, out of
//! order or not at all, a disk that breaks, requests that are dropped, devices that are lost, tabs that are
//! killed. Every request is answered with the same tokens as on a quiet machine, or with an error that says
//! what happened.

mod support;

use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use support::random_mixture::Mixture;
use support::random_model::{self, Shape};
use support::{MOMENT, supply_piece};
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, Event, HeaderReader, OpenOptions, Request};
use wasm_chord::pager::{Pace, Placement, SourceRange, State};

/// Seeds that are tried, a share of them by each thread.
const SEEDS: u64 = 10_000;

/// Ranges on their way at a time, and pieces of the embedding beside them, as in the page's loader.
const RANGES_IN_FLIGHT: usize = 4;
const PIECES_IN_FLIGHT: usize = 2;

/// Steps of a request after which it would never end.
const STEPS_MAX: usize = 20_000;

/// A small reproducible generator (the constants are Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What an answer came to: its texts and tokens, or an embedding, to the bit.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    texts: Vec<String>,
    tokens: Vec<(usize, u32, u32)>,
    embedding: Vec<u32>,
}

impl Outcome {
    fn hear(&mut self, event: Event) {
        let (choice, text, logprobs) = match event {
            Event::Token { choice, text, logprobs, .. } | Event::Finish { choice, text, logprobs, .. } => {
                (choice, text, logprobs)
            }
            Event::Done { embeddings, .. } => {
                self.embedding = embeddings.into_iter().flatten().map(f32::to_bits).collect();
                return;
            }
            _ => return,
        };
        self.texts.resize(choice + 1, String::new());
        self.texts[choice].push_str(&text);
        self.tokens.extend(logprobs.iter().map(|l| (choice, l.chosen.id, l.chosen.logprob.to_bits())));
    }
}

/// A model, what is asked of it, and the quiet answers.
struct Model {
    file: Rc<Vec<u8>>,
    requests: Vec<(Value, Outcome)>,
    /// Bytes of a model that is wholly in memory, and the lowest ceilings with a ring and with a disk.
    most: u64,
    least_ring: u64,
    least_disk: u64,
}

fn header(file: &[u8]) -> HeaderReader {
    let mut reader = HeaderReader::new(Some(file.len() as u64));
    assert!(reader.feed(file).expect("a header"));
    reader
}

/// Slots of an engine's ring.
fn ring(engine: &Engine) -> usize {
    engine.stats()["layers"]["ring"].as_u64().expect("a number") as usize
}

fn begin(engine: &mut Engine, body: &Value) {
    engine.begin(Request::from_json(&body.to_string()).expect("a body"), MOMENT).expect("begins");
}

impl Model {
    fn new(shape: Shape) -> Model {
        Model::of(random_model::file(shape))
    }

    fn of(file: Vec<u8>) -> Model {
        let text = |extra: Value| {
            let mut body = json!({"kind": "completion", "prompt": "abab", "temperature": 0, "max_tokens": 4, "ignore_eos": true, "logprobs": 0});
            body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            body
        };
        let requests = [
            text(json!({})),
            text(json!({"prompt": "ababab", "max_tokens": 6, "draft_max": 3})),
            text(json!({"prompt": "abac", "temperature": 1.5, "seed": 7, "n": 2})),
            text(json!({"prompt": [1, 70], "max_tokens": 1})),
            json!({"kind": "embedding", "input": "abab"}),
        ];
        let least = |from_disk| {
            let options = OpenOptions { max_resident_bytes: Some(1), from_disk, ..OpenOptions::default() };
            let refused = header(&file).open(&options).err().expect("refused");
            refused.details["need"].as_u64().expect("what it needs")
        };
        let engine = || support::open(&file, &OpenOptions::default()).expect("the model opens");
        let most = engine().stats()["memory"]["budgetBytes"].as_u64().expect("a number");
        let requests = requests.map(|body| {
            // One that has computed nothing before.
            let mut engine = engine();
            let mut outcome = Outcome::default();
            support::ask_with(&mut engine, &file, body.clone(), |_, event| outcome.hear(event.clone()))
                .expect("an answer");
            (body, outcome)
        });
        Model {
            least_ring: least(false),
            least_disk: least(true),
            most,
            requests: requests.into(),
            file: Rc::new(file),
        }
    }
}

/// Bytes that were asked for.
struct Flight {
    range: SourceRange,
    /// Where its bytes that have come end.
    position: u64,
    due: u64,
    is_early: bool,
    is_kept: bool,
    attempt: u64,
}

/// How hostile a world is, in percent.
struct Weather {
    loss: u64,
    cancels: u64,
    lost_devices: u64,
    broken_disk: u64,
    latency: u64,
}

struct World<'a> {
    model: &'a Model,
    options: OpenOptions,
    engine: Engine,
    random: Random,
    weather: Weather,
    now: u64,
    flights: Vec<Flight>,
    /// Loading stopped, until it is resumed; the number of resumptions.
    has_failed: bool,
    attempt: u64,
    is_on_disk: bool,
    ring: usize,
    disk_works: Rc<Cell<bool>>,
}

impl<'a> World<'a> {
    fn new(model: &'a Model, seed: u64) -> World<'a> {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let kind = random.below(3);
        // One that may have to do without the disk needs room for a ring.
        let least = if kind == 2 && random.chance(30) { model.least_disk } else { model.least_ring };
        let budget = least + random.below((model.most - least).max(1));
        let options = OpenOptions {
            max_resident_bytes: (kind > 0).then_some(budget),
            from_disk: kind == 2,
            prefetch_distance: random.chance(30).then(|| random.below(4) as usize),
            ..OpenOptions::default()
        };
        let can_leave = budget >= model.least_ring;
        let weather = Weather {
            loss: [0, 5, 25][random.below(3) as usize],
            cancels: [0, 1, 5][random.below(3) as usize],
            lost_devices: [0, 0, 2][random.below(3) as usize],
            broken_disk: if can_leave && random.chance(30) { 2 } else { 0 },
            latency: 1 + random.below(30),
        };
        let disk_works = Rc::new(Cell::new(true));
        let engine = World::open(model, &options, &disk_works);
        let is_on_disk = options.from_disk;
        let (now, flights) = (0, Vec::new());
        World {
            model,
            options,
            ring: ring(&engine),
            engine,
            random,
            weather,
            now,
            flights,
            has_failed: false,
            attempt: 0,
            is_on_disk,
            disk_works,
        }
    }

    fn open(model: &Model, options: &OpenOptions, disk_works: &Rc<Cell<bool>>) -> Engine {
        let mut engine = header(&model.file).open(options).expect("the model opens under its ceiling");
        let (file, works) = (model.file.clone(), disk_works.clone());
        engine.set_disk(Rc::new(move |_, offset, bytes| {
            bytes.copy_from_slice(&file[offset as usize..][..bytes.len()]);
            works.get()
        }));
        engine
    }

    /// Asks for more while there is something wanted and room for it.
    fn pump(&mut self) {
        if self.has_failed {
            return;
        }
        let under_way = |flights: &[Flight], is_early| flights.iter().filter(|f| f.is_early == is_early).count();
        while under_way(&self.flights, true) < PIECES_IN_FLIGHT {
            let Some(range) = self.engine.want_early() else { break };
            self.send(range, true);
        }
        while under_way(&self.flights, false) < RANGES_IN_FLIGHT {
            let Some(range) = self.engine.want().expect("there is room") else { break };
            self.send(range, false);
        }
        self.check_ring();
    }

    fn send(&mut self, range: SourceRange, is_early: bool) {
        let due = self.now + 1 + self.random.below(self.weather.latency);
        let is_kept = !is_early && self.engine.placement(range.group).reads_disk();
        self.flights.push(Flight { position: range.offset, range, due, is_early, is_kept, attempt: self.attempt });
    }

    /// Time passes: something comes of the request that is due next. False if none is under way.
    fn receive(&mut self) -> bool {
        let Some(next) = (0..self.flights.len()).min_by_key(|i| self.flights[*i].due) else { return false };
        let mut flight = self.flights.swap_remove(next);
        self.now = self.now.max(flight.due);
        let end = flight.range.offset + flight.range.length;
        if self.random.chance(self.weather.loss) {
            self.ended(flight, true);
        } else if flight.is_kept {
            self.keep(flight);
        } else {
            let left = end - flight.position;
            let length = if self.random.chance(50) { left } else { 1 + self.random.below(left) };
            let bytes = &self.model.file[flight.position as usize..(flight.position + length) as usize];
            supply_piece(&mut self.engine, flight.position, bytes);
            if self.random.chance(5) {
                supply_piece(&mut self.engine, flight.position, bytes);
            }
            flight.position += length;
            flight.due = self.now + 1 + self.random.below(self.weather.latency);
            if flight.position < end { self.flights.push(flight) } else { self.ended(flight, false) }
        }
        true
    }

    /// A range is on disk, and is read from there.
    fn keep(&mut self, flight: Flight) {
        if !self.is_on_disk || self.engine.supply_from_disk(&flight.range) {
            self.pump();
        } else {
            self.leave_disk();
        }
    }

    fn leave_disk(&mut self) {
        if std::mem::take(&mut self.is_on_disk) {
            self.engine.leave_disk().expect("the ceiling allows a ring");
            self.look();
        }
        self.disk_works.set(true);
        self.pump();
    }

    /// A request has ended, before all of its bytes came if it failed.
    fn ended(&mut self, flight: Flight, has_failed: bool) {
        let Flight { range: SourceRange { group, part, offset, length }, position, is_early, is_kept, attempt, .. } =
            flight;
        let rest = SourceRange { group, part, offset: position, length: offset + length - position };
        match (has_failed, is_early) {
            (false, _) => {}
            (true, true) => self.engine.refetch_early(SourceRange { offset, length, ..rest }),
            // A core that has left the disk since then wants everything anew by itself.
            (true, false) if is_kept && !self.is_on_disk => {}
            (true, false) => self.engine.refetch(rest),
        }
        if has_failed && attempt == self.attempt {
            self.has_failed = true;
        } else {
            self.pump();
        }
    }

    fn resume(&mut self) {
        (self.has_failed, self.attempt) = (false, self.attempt + 1);
        self.pump();
    }

    fn check_ring(&self) {
        let held = (0..)
            .zip(self.engine.groups())
            .filter(|(group, state)| self.engine.placement(*group) == Placement::Ring && *state != State::Absent);
        assert!(held.count() <= self.ring, "the ring of {} holds more", self.ring);
    }

    /// What was planned may be another plan now.
    fn look(&mut self) {
        self.ring = ring(&self.engine);
    }

    /// What may happen at any time.
    fn trouble(&mut self) {
        if self.random.chance(self.weather.lost_devices) {
            self.engine.attach_cpu().expect("another takes over");
            self.look();
            self.pump();
        }
        if self.options.from_disk && self.random.chance(self.weather.broken_disk) {
            self.disk_works.set(false);
        }
        if self.random.chance(20) {
            self.receive();
        }
    }

    /// One request: its quiet answer, an error that says what happened, or nothing if it was dropped.
    fn request(&mut self) {
        let model = self.model;
        let (body, expected) = &model.requests[self.random.below(model.requests.len() as u64) as usize];
        begin(&mut self.engine, body);
        self.pump();
        let mut outcome = Outcome::default();
        for _ in 0..STEPS_MAX {
            self.trouble();
            if self.random.chance(self.weather.cancels) {
                self.engine.cancel();
                return;
            }
            match self.engine.step() {
                Ok(Event::Wait { .. }) => {
                    self.pump();
                    if self.has_failed {
                        // The person hears of it, or it has passed by then.
                        if self.random.chance(30) {
                            self.engine.cancel();
                            return;
                        }
                        self.resume();
                    }
                    assert!(self.receive(), "a dead wait: nothing is on its way");
                }
                Ok(event @ Event::Done { .. }) => {
                    outcome.hear(event);
                    assert_eq!(&outcome, expected, "{body}");
                    return;
                }
                Ok(event) => {
                    let is_token = matches!(event, Event::Token { .. });
                    outcome.hear(event);
                    if is_token && self.random.chance(10) {
                        self.engine.measured(&Pace { latency: 50.0, per_byte: 1e-9, compute: 0.1 });
                        self.look();
                    }
                    self.pump();
                }
                Err(error) => {
                    assert!(error.code == ErrorCode::StoreFailed && !self.disk_works.get(), "{error}");
                    self.leave_disk();
                    return;
                }
            }
        }
        panic!("the request does not end: {body}");
    }

    /// Between requests: what was computed is saved, the tab is killed, another takes it up.
    fn kill(&mut self) {
        let saved = self.random.chance(50).then(|| support::saved(&mut self.engine));
        self.flights.clear();
        self.engine = World::open(self.model, &self.options, &self.disk_works);
        (self.has_failed, self.is_on_disk) = (false, self.options.from_disk);
        self.disk_works.set(true);
        self.look();
        if let Some(saved) = saved {
            support::take_up(&mut self.engine, &saved).expect("taken up");
        }
        self.pump();
    }

    /// All is quiet: another request is answered, what is wanted comes, and nothing else is held.
    fn settle(&mut self) {
        (self.weather.loss, self.weather.broken_disk) = (0, 0);
        (self.weather.cancels, self.weather.lost_devices) = (0, 0);
        self.disk_works.set(true);
        self.resume();
        self.request();
        while self.receive() {}
        for (group, state) in (0..).zip(self.engine.groups()) {
            assert_ne!(state, State::Fetching, "group {group} never came");
            assert!(self.ring > 0 || state == State::Resident, "group {group} was never asked for");
        }
        let memory = &self.engine.stats()["memory"];
        let bytes = |name: &str| memory[name].as_u64().expect("a number");
        assert!(bytes("peakResidentBytes") <= bytes("budgetBytes"), "{memory}");
    }
}

fn live(model: &Model, seed: u64) {
    let mut world = World::new(model, seed);
    world.pump();
    for _ in 0..1 + world.random.below(3) {
        world.request();
        if world.random.chance(15) {
            world.kill();
        }
    }
    world.settle();
}

#[test]
fn ten_thousand_worlds_answer_as_a_quiet_one() {
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let tiny = Shape {
                    layers: 4,
                    embedding: 16,
                    heads: 2,
                    kv_heads: 1,
                    feed_forward: 24,
                    context: 32,
                    is_tied: false,
                    is_hybrid: false,
                };
                let models = [
                    Model::new(tiny),
                    Model::new(Shape { is_tied: true, ..tiny }),
                    // Matrices that are worth staying on disk.
                    Model::new(Shape { layers: 3, embedding: 64, feed_forward: 1024, ..tiny }),
                    // A table that is worth requests for its rows.
                    Model::new(Shape { layers: 1, embedding: 1024, heads: 16, ..tiny }),
                    // States that hold the whole past, and cannot be cut.
                    Model::new(Shape { is_hybrid: true, ..tiny }),
                    // Experts that are worth reading when they are used.
                    Model::of(Mixture { layers: 3, context: 32, ..Mixture::default() }.file()),
                ];
                for seed in (thread..SEEDS).step_by(threads as usize) {
                    let model = match seed % 100 {
                        0 => &models[3],
                        1..5 => &models[2],
                        5 => &models[5],
                        6..30 => &models[4],
                        other => &models[usize::from(other % 2 == 0)],
                    };
                    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(model, seed)));
                    lived.unwrap_or_else(|_| panic!("seed {seed}"));
                }
            });
        }
    });
}
