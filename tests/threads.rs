//! Several threads compute one model: what a request gives is the same to the bit, whatever becomes of them.

mod support;

use support::random_model::{Shape, file};
use support::team::Team;
use wasm_chord::engine::{Event, OpenOptions, Request};

fn request(prompt: &str) -> Request {
    let body = serde_json::json!({
        "kind": "completion", "prompt": prompt, "max_tokens": 10, "temperature": 0, "logprobs": 1, "ignore_eos": true,
    });
    Request::from_json(&body.to_string()).expect("a request")
}

/// Runs a request: the tokens and their log-probabilities as bits. `turns` is called with the number of each step.
fn run(team: &mut Team, prompt: &str, mut turns: impl FnMut(&mut Team, usize)) -> Vec<(u32, u32)> {
    team.engine.begin(request(prompt), support::MOMENT).expect("it begins");
    let mut tokens = Vec::new();
    for step in 0.. {
        turns(team, step);
        match team.engine.step().expect("a step") {
            Event::Token { logprobs, .. } | Event::Finish { logprobs, .. } => {
                tokens.extend(logprobs.iter().map(|l| (l.chosen.id, l.chosen.logprob.to_bits())));
            }
            Event::Device => team.turn(),
            Event::Lost => {
                team.engine.attach_cpu().expect("the CPU takes over");
                team.supply().expect("it is supplied");
            }
            Event::Wait { .. } => team.supply().expect("it is supplied"),
            Event::Work => {}
            Event::Done { .. } => break,
        }
    }
    tokens
}

fn team(threads: usize) -> Team {
    let shape = Shape { layers: 2, ..Shape::default() };
    let mut team = Team::open(&file(shape), threads, &OpenOptions::default()).expect("it opens");
    team.supply().expect("it is supplied");
    team
}

const PROMPT: &str = "a prompt of more than one batch of tokens, so that it takes several steps to compute all of it";

#[test]
fn a_thread_that_is_lost_at_any_step_changes_no_token() {
    let expected = run(&mut team(1), PROMPT, |_, _| {});
    assert_eq!(expected.len(), 10);
    assert_eq!(run(&mut team(3), PROMPT, |_, _| {}), expected);
    for at in (0..90).step_by(6) {
        let mut team = team(3);
        let tokens = run(&mut team, PROMPT, |team, step| {
            if step == at {
                team.kill(1 + at / 6 % 2);
            }
        });
        assert_eq!(tokens, expected, "killed at step {at}");
    }
}

#[test]
fn a_request_that_is_dropped_at_any_step_leaves_the_next_one_whole() {
    let expected = run(&mut team(1), PROMPT, |_, _| {});
    let mut team = team(3);
    for at in (0..90).step_by(6) {
        let other: String = PROMPT.chars().rev().collect();
        team.engine.begin(request(&other), support::MOMENT).expect("it begins");
        for _ in 0..at {
            match team.engine.step().expect("a step") {
                Event::Device => team.turn(),
                Event::Done { .. } => break,
                _ => {}
            }
        }
        team.engine.cancel();
        assert_eq!(run(&mut team, PROMPT, |_, _| {}), expected, "dropped after {at} steps");
    }
}

#[test]
fn a_model_that_does_not_fit_has_one_thread() {
    let file = file(Shape::default());
    let whole = Team::open(&file, 2, &OpenOptions::default()).expect("it opens").engine.stats();
    let bytes = whole["memory"]["budgetBytes"].as_u64().expect("bytes");
    for (ceiling, threads) in [(bytes, 2), (bytes - 1, 1)] {
        let options = OpenOptions { max_resident_bytes: Some(ceiling), ..OpenOptions::default() };
        assert_eq!(Team::open(&file, 2, &options).expect("it opens").engine.threads(), threads);
    }
    let options = OpenOptions { thread_bytes: 1 << 30, ..OpenOptions::default() };
    assert_eq!(Team::open(&file, 2, &options).expect("it opens").engine.threads(), 1);
}
