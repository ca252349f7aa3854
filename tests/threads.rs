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
    team_of(threads, Shape { layers: 2, ..Shape::default() })
}

fn team_of(threads: usize, shape: Shape) -> Team {
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

#[test]
fn a_sequence_is_saved_and_taken_up_by_any_number_of_threads() {
    // Heads that three threads divide unevenly, and that two threads of a shape with one head cannot divide.
    for shape in [
        Shape { layers: 2, heads: 8, kv_heads: 4, ..Shape::default() },
        Shape { layers: 2, heads: 4, kv_heads: 1, ..Shape::default() },
    ] {
        let opened = |threads: usize| team_of(threads, shape);
        let prompt: Vec<u32> = (20..120).collect();
        let body = |prompt: &[u32]| serde_json::json!({"kind": "completion", "prompt": prompt, "temperature": 0, "max_tokens": 6, "ignore_eos": true, "logprobs": 0});
        let mut first = opened(1);
        let begun = first.ask(body(&prompt)).expect("an answer");
        let bytes = first.saved().expect("saved");
        let longer = [&prompt[..], &begun.tokens].concat();
        let expected = first.ask(body(&longer)).expect("an answer");
        assert_eq!(expected.cached, longer.len() - 1);
        for threads in [2, 3] {
            let mut team = opened(threads);
            assert_eq!(team.engine.threads(), threads);
            assert_eq!(team.ask(body(&prompt)).expect("an answer").tokens, begun.tokens);
            assert!(team.saved().expect("saved") == bytes, "{threads} threads save the same bytes");
            // By others, after something else.
            let mut team = opened(threads);
            team.ask(body(&[9, 8, 7])).expect("an answer");
            assert_eq!(team.take_up(&bytes).expect("taken up"), longer.len() - 1);
            assert!(team.saved().expect("saved") == bytes, "and saved again it is the same");
            assert_eq!(team.ask(body(&longer)).expect("an answer"), expected);
        }
    }
}

#[test]
fn a_thread_that_is_lost_while_a_sequence_is_moved_costs_that_only() {
    let shape = Shape { layers: 2, heads: 8, kv_heads: 4, ..Shape::default() };
    let expected = run(&mut team_of(1, shape), PROMPT, |_, _| {});
    let mut whole = team_of(3, shape);
    run(&mut whole, PROMPT, |_, _| {});
    let bytes = whole.saved().expect("saved");
    whole.kill(2);
    assert_eq!(whole.saved().err().map(|error| error.code), Some(wasm_chord::ErrorCode::DeviceLost));
    assert_eq!(run(&mut whole, PROMPT, |_, _| {}), expected, "one thread goes on");
    assert!(whole.saved().expect("saved") == bytes);
}

#[test]
fn a_save_that_is_given_up_leaves_the_next_request_whole() {
    let shape = Shape { layers: 2, heads: 8, kv_heads: 4, ..Shape::default() };
    let expected = run(&mut team_of(1, shape), PROMPT, |_, _| {});
    let mut team = team_of(3, shape);
    run(&mut team, PROMPT, |_, _| {});
    for steps in 1..8 {
        team.engine.begin_save().expect("it begins");
        for step in 0..steps {
            if team.engine.save().expect("a piece, or none yet").is_some_and(<[u8]>::is_empty) {
                break;
            }
            if step % 2 == 1 {
                team.turn();
            }
        }
        assert_eq!(run(&mut team, PROMPT, |_, _| {}), expected, "given up after {steps} steps");
    }
}
