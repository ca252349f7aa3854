//! Runs a target on many inputs on several threads, under a watchdog.

use fastrand::Rng;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time between two looks of the watchdog.
const LOOK: Duration = Duration::from_millis(250);

/// Looks at the same input after which it counts as hanging: the 10 s that every call of the
/// package has to keep. Looks and not a clock, so that a machine that pauses all is no failure.
const LOOKS_MAX: u32 = 40;

/// Inputs that a thread takes at a time.
const CHUNK: u64 = 1024;

/// Stack of the threads: that of a wasm module, so that deep recursion shows.
const STACK_BYTES: usize = 1 << 20;

/// Something to fuzz.
pub trait Target: Sync {
    /// Makes an input, which may depend on nothing but `random`.
    fn generate(&self, random: &mut Rng) -> Vec<u8>;

    /// Runs the code under test and panics if it misbehaves. True if it accepted the input; a
    /// share of both outcomes shows that the inputs are neither all good nor all nonsense.
    fn run(&self, input: &[u8], random: &mut Rng) -> bool;
}

/// What to run.
pub struct Options {
    pub inputs: u64,
    pub seed: u64,
    pub threads: usize,
    /// Number of the first input.
    pub first: u64,
    /// The number of the only input to run, which is shown.
    pub only: Option<u64>,
}

/// Panics at one place in the code.
struct Failure {
    first: u64,
    count: u64,
    message: String,
}

/// What a thread is doing, for the watchdog: the number of its input.
struct Activity(AtomicU64);

/// The number of a thread without an input.
const IDLE: u64 = u64::MAX;

#[derive(Default)]
struct State {
    next: AtomicU64,
    done: AtomicU64,
    accepted: AtomicU64,
    slowest: Mutex<(Duration, u64)>,
    failures: Mutex<BTreeMap<String, Failure>>,
    finished: AtomicBool,
}

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Ends the process because of the input in work.
pub fn die(message: &str) -> ! {
    eprintln!("input {}: {message}", NUMBER.get());
    std::process::exit(1)
}

/// The random numbers of input `number`.
fn random(seed: u64, number: u64) -> Rng {
    Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd134_2543_de82_ef95))
}

/// Runs all inputs and reports; the exit code says whether the target stood.
pub fn run(name: &str, target: &dyn Target, options: &Options) -> ExitCode {
    if let Some(number) = options.only {
        return show(target, options.seed, number);
    }
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        PANIC.set(Some((place, info.to_string())));
    }));
    let state = State { next: AtomicU64::new(options.first), ..State::default() };
    let activities: Vec<Activity> = (0..options.threads).map(|_| Activity(AtomicU64::new(IDLE))).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let watchdog = scope.spawn(|| watch(start, &state, &activities));
        let work = |activity| work(target, options, start, &state, activity);
        let spawn = |activity| {
            let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, move || work(activity)).expect("threads can be started")
        };
        let workers: Vec<_> = activities.iter().map(spawn).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("panics are caught in a worker"));
        state.finished.store(true, Relaxed);
        watchdog.thread().unpark();
    });
    report(name, options, &state, start.elapsed())
}

/// Runs one input with its panic shown.
fn show(target: &dyn Target, seed: u64, number: u64) -> ExitCode {
    NUMBER.set(number);
    let mut random = random(seed, number);
    let input = target.generate(&mut random);
    println!("{} bytes: {}", input.len(), input.escape_ascii());
    let start = Instant::now();
    let accepted = target.run(&input, &mut random);
    println!("{} in {:?}", if accepted { "accepted" } else { "refused" }, start.elapsed());
    ExitCode::SUCCESS
}

/// Takes inputs until none are left.
fn work(target: &dyn Target, options: &Options, start: Instant, state: &State, activity: &Activity) {
    let end = options.first + options.inputs;
    loop {
        let first = state.next.fetch_add(CHUNK, Relaxed);
        if first >= end {
            return;
        }
        let (mut accepted, mut slowest) = (0, (Duration::ZERO, 0));
        let mut before = start.elapsed();
        let numbers = first..end.min(first + CHUNK);
        let count = numbers.end - numbers.start;
        for number in numbers {
            NUMBER.set(number);
            activity.0.store(number, Relaxed);
            let mut random = random(options.seed, number);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let input = target.generate(&mut random);
                target.run(&input, &mut random)
            }));
            match outcome {
                Ok(outcome) => accepted += u64::from(outcome),
                Err(_) => record(state, number),
            }
            let now = start.elapsed();
            slowest = slowest.max((now - before, number));
            before = now;
        }
        activity.0.store(IDLE, Relaxed);
        state.done.fetch_add(count, Relaxed);
        state.accepted.fetch_add(accepted, Relaxed);
        let mut all = state.slowest.lock().expect("no panic under this lock");
        *all = (*all).max(slowest);
    }
}

/// Notes the panic of input `number`.
fn record(state: &State, number: u64) {
    let (place, message) = PANIC.take().unwrap_or_default();
    let mut failures = state.failures.lock().expect("no panic under this lock");
    let failure = failures.entry(place).or_insert(Failure { first: number, count: 0, message });
    failure.first = failure.first.min(number);
    failure.count += 1;
}

/// Ends the process if an input takes too long, and tells how far the work is.
fn watch(start: Instant, state: &State, activities: &[Activity]) {
    let mut told = 0;
    let mut seen = vec![(IDLE, 0); activities.len()];
    while !state.finished.load(Relaxed) {
        for (activity, (number, looks)) in activities.iter().zip(&mut seen) {
            let now = activity.0.load(Relaxed);
            *looks = if now == *number && now != IDLE { *looks + 1 } else { 0 };
            *number = now;
            if *looks > LOOKS_MAX {
                eprintln!("input {now}: takes longer than {:?}", LOOK * LOOKS_MAX);
                std::process::exit(1);
            }
        }
        let seconds = start.elapsed().as_secs();
        if seconds / 10 > told {
            told = seconds / 10;
            eprintln!("{seconds:>5} s: {} inputs", state.done.load(Relaxed));
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Prints what was found.
fn report(name: &str, options: &Options, state: &State, time: Duration) -> ExitCode {
    let done = state.done.load(Relaxed);
    let rate = done as f64 / time.as_secs_f64();
    let accepted = 100.0 * state.accepted.load(Relaxed) as f64 / done.max(1) as f64;
    let (slowest, number) = *state.slowest.lock().expect("no panic under this lock");
    println!(
        "{name}: {done} inputs of seed {} in {:.1} s, {rate:.0} a second, {accepted:.1}% accepted; \
         the slowest, {number}, took {:.1} ms",
        options.seed,
        time.as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    );
    let failures = state.failures.lock().expect("no panic under this lock");
    for (place, Failure { first, count, message }) in failures.iter() {
        println!("FAILED {count} times at {place}, first by input {first}: {message}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
