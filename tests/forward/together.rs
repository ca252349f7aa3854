//! Requests that run at a time: each writes what it writes alone, to the token, in every architecture.

use crate::styles::{Output, Style, VOCABULARY};
use crate::support::MOMENT;
use crate::support::team::Team;
use crate::{pass, styles, weights};
use serde_json::{Value, json};
use wasm_chord::engine::{Event, OpenOptions, Request};

/// Requests of one run.
const REQUESTS: usize = 8;

/// After how many tokens of its own the fourth is dropped, and after how many of all the last one joins.
const DROPPED: (usize, usize) = (3, 4);
const LATE: (usize, usize) = (REQUESTS - 1, 12);

/// Prompts of a few tokens and of more than a batch, some of which begin alike; greedy and drawn; one of two answers.
fn body(number: usize) -> Value {
    let length = [5, 90, 1, 17, 90, 3, 64, 33][number];
    let step = [7, 3, 1, 11, 3, 7, 5, 13][number];
    let prompt: Vec<usize> = (0..length).map(|at| (3 + at * step) % VOCABULARY).collect();
    let mut body = json!({
        "kind": "completion", "prompt": prompt, "max_tokens": 6 + number % 4, "ignore_eos": true, "logprobs": 0,
        "temperature": 0, "n": 1 + usize::from(number == 5),
    });
    if number % 2 == 1 {
        (body["temperature"], body["seed"], body["repeat_penalty"]) = (json!(1.2), json!(number), json!(1.1));
    }
    body
}

/// The tokens of each, of all its choices, run at a time. `turns` is called with the number of each step.
fn together(team: &mut Team, mut turns: impl FnMut(&mut Team, usize)) -> Vec<Vec<u32>> {
    let mut tokens = vec![[Vec::new(), Vec::new()]; REQUESTS];
    let mut numbers = [None; REQUESTS];
    let (mut begun, mut ended, mut all) = (0, 0, 0);
    for step in 0.. {
        if ended == REQUESTS {
            break;
        }
        turns(team, step);
        let is_due = begun < REQUESTS && (begun != LATE.0 || all >= LATE.1);
        if is_due && team.engine.can_begin() {
            let request = Request::from_json(&body(begun).to_string()).expect("a request");
            numbers[begun] = Some(team.engine.begin(request, MOMENT).expect("it begins"));
            begun += 1;
        }
        let event = team.engine.step().expect("a step");
        let number = numbers.iter().position(|number| *number == Some(team.engine.stepped()));
        match event {
            Event::Token { choice, logprobs, .. } | Event::Finish { choice, logprobs, .. } => {
                let number = number.expect("it is of a request");
                all += logprobs.len();
                tokens[number][choice].extend(logprobs.iter().map(|logprob| logprob.chosen.id));
                if number == DROPPED.1 && tokens[number][choice].len() == DROPPED.0 {
                    team.engine.cancel_one(numbers[number].take().expect("it runs"));
                    ended += 1;
                }
            }
            Event::Done { .. } => {
                numbers[number.expect("it is of a request")] = None;
                ended += 1;
            }
            Event::Device => team.turn(),
            Event::Work => {}
            Event::Wait { .. } => team.supply().expect("it is supplied"),
            Event::Lost => team.engine.attach_cpu().expect("the CPU takes over"),
        }
    }
    tokens.iter().map(|choices| choices.concat()).collect()
}

pub fn writes(style: &Style) -> bool {
    style.output == Output::Logits && !style.looks_ahead
}

/// A model of this style, on so many threads and with room for so many requests.
pub fn open(file: &[u8], threads: usize, lanes: usize) -> Team {
    let options = OpenOptions { max_sequences: Some(lanes), ..OpenOptions::default() };
    let mut team = Team::open(file, threads, &options).expect("the model opens");
    team.supply().expect("it is supplied");
    team
}

pub fn file(style: &Style) -> Vec<u8> {
    let mut plain = weights::Weights::default();
    pass::answer(&mut plain, style, &style.tokens());
    plain.file(style)
}

/// What each writes alone.
fn alone(file: &[u8]) -> Vec<Vec<u32>> {
    let mut one = open(file, 1, 1);
    let mut tokens: Vec<Vec<u32>> =
        (0..REQUESTS).map(|number| one.ask(body(number)).expect("an answer").tokens).collect();
    tokens[DROPPED.1].truncate(DROPPED.0);
    tokens
}

pub fn llama() -> Vec<u8> {
    file(&styles::all().into_iter().find(|style| style.name == "llama").expect("a style"))
}

/// Styles that differ in what a sequence keeps, or in how its tokens are computed: keys and values of all positions and of a
/// window, positions of a table, latent rows, states that hold the whole past, and a mixture of experts.
pub const DIFFERENT: [&str; 9] =
    ["llama", "gemma3", "gpt2", "deepseek2", "mamba2", "granitehybrid", "lfm2", "qwen3next", "gpt-oss"];

#[test]
fn requests_that_run_at_a_time_write_what_they_write_alone() {
    for name in DIFFERENT {
        let style = styles::all().into_iter().find(|style| style.name == name).expect("a style");
        let file = file(&style);
        let expected = alone(&file);
        for threads in if style.recurs() { 1..2 } else { 1..3 } {
            let mut team = open(&file, threads, REQUESTS);
            // Twice, and the second time on what the first has left.
            for round in 0..2 {
                let tokens = together(&mut team, |_, _| {});
                assert_eq!(tokens, expected, "{name} on {threads} threads, round {round}");
            }
            let stats = team.engine.stats();
            let [passes, tokens] = ["passes", "tokens"].map(|name| stats["sequences"][name].as_u64().expect("a count"));
            assert!(2 * tokens > 3 * passes && passes > 0, "{name}: {tokens} tokens in {passes} passes");
        }
        // Fewer lanes than requests: the others wait.
        assert_eq!(together(&mut open(&file, 1, 3), |_, _| {}), expected, "{name} in three lanes");
    }
}

#[test]
fn every_architecture_writes_the_same_beside_others() {
    for style in styles::all().into_iter().filter(|style| writes(style) && !DIFFERENT.contains(&style.name)) {
        let file = file(&style);
        assert_eq!(together(&mut open(&file, 1, REQUESTS), |_, _| {}), alone(&file), "{}", style.name);
    }
}

#[test]
fn a_thread_that_is_lost_changes_no_token_of_any_request() {
    let file = llama();
    let expected = alone(&file);
    for at in (0..160).step_by(9) {
        let mut team = open(&file, 3, REQUESTS);
        let tokens = together(&mut team, |team, step| {
            if step == at {
                team.kill(1 + at % 2);
            }
        });
        assert_eq!(tokens, expected, "killed at step {at}");
    }
}

#[test]
fn requests_that_are_dropped_at_any_step_leave_room_for_others() {
    let file = llama();
    let expected = alone(&file);
    for threads in [1, 3] {
        let mut team = open(&file, threads, 2);
        for at in 0..20 {
            let numbers = [0, 3].map(|number| {
                let request = Request::from_json(&body(number).to_string()).expect("a request");
                team.engine.begin(request, MOMENT).expect("there is room")
            });
            for _ in 0..at {
                if team.engine.stats()["sequences"]["running"] == 0 {
                    break;
                }
                if let Event::Device = team.engine.step().expect("a step") {
                    team.turn();
                }
            }
            numbers.into_iter().for_each(|number| team.engine.cancel_one(number));
        }
        assert_eq!(together(&mut team, |_, _| {}), expected, "on {threads} threads");
    }
}

#[test]
fn a_newcomer_s_prompt_is_computed_between_the_tokens_of_the_others() {
    let mut team = open(&llama(), 1, 2);
    let request = |prompt: usize, tokens: usize| {
        let prompt: Vec<usize> = (0..prompt).map(|at| at % VOCABULARY).collect();
        let body =
            json!({"kind": "completion", "prompt": prompt, "max_tokens": tokens, "ignore_eos": true, "temperature": 0});
        Request::from_json(&body.to_string()).expect("a request")
    };
    let first = team.engine.begin(request(3, 60), MOMENT).expect("it begins");
    let mut written = [0, 0];
    let mut second = None;
    // Until the newcomer has written a token: of two batches, of which each goes through every group.
    while written[1] == 0 {
        if written[0] == 3 && second.is_none() {
            second = Some(team.engine.begin(request(120, 1), MOMENT).expect("it begins"));
        }
        if let Event::Token { .. } | Event::Finish { .. } = team.engine.step().expect("a step") {
            written[usize::from(team.engine.stepped() != first)] += 1;
        }
    }
    assert!((6..20).contains(&written[0]), "{} tokens of the other", written[0]);
    // Nobody computes for one who does not take what it has written.
    team.engine.hold(first, true);
    let before = team.engine.step().expect("a step");
    assert!(matches!(before, Event::Done { .. }), "{before:?}");
    assert!(matches!(team.engine.step().expect("a step"), Event::Device));
    team.engine.hold(first, false);
    assert!(matches!(team.engine.step().expect("a step"), Event::Token { .. }));
}

#[test]
fn there_are_as_many_lanes_as_fit_the_ceiling() {
    let file = llama();
    let whole = open(&file, 1, 1).engine.stats();
    let [budget, kv] = ["budgetBytes", "kvBytes"].map(|name| whole["memory"][name].as_u64().expect("bytes"));
    for (more, lanes) in [(0, 1), (kv, 1), (kv + kv / 2, 2), (100 * kv, REQUESTS)] {
        let options = OpenOptions {
            max_sequences: Some(REQUESTS),
            max_resident_bytes: Some(budget + more),
            ..OpenOptions::default()
        };
        let mut team = Team::open(&file, 1, &options).expect("the model opens");
        team.supply().expect("it is supplied");
        assert_eq!(team.engine.requests_max(), lanes, "{more} bytes more");
        assert_eq!(together(&mut team, |_, _| {}), alone(&file));
        let memory = &team.engine.stats()["memory"];
        let [held, bytes] = ["peakResidentBytes", "budgetBytes"].map(|name| memory[name].as_u64().expect("bytes"));
        assert!(held <= bytes && bytes <= budget + more, "{held} of {bytes}");
    }
}
