//! Tokens that are guessed change no answer: they only save passes through the layers.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, OpenOptions, Tally};

/// A request whose prompt says everything twice, so that there is something to guess.
fn request(extra: Value) -> Value {
    let mut body = json!({
        "kind": "completion", "prompt": "abcabcabc", "temperature": 0, "max_tokens": 60, "ignore_eos": true, "logprobs": 2,
    });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// The answer, how its tokens were guessed, and how often the pass entered the first layer.
fn answer(engine: &mut Engine, file: &[u8], body: Value) -> (Answer, Tally, Vec<u32>) {
    let (mut tally, mut bits) = (Tally::default(), Vec::new());
    let answer = ask_with(engine, file, body, |_, event| match event {
        Event::Done { draft, .. } => tally = *draft,
        Event::Token { logprobs, .. } | Event::Finish { logprobs, .. } => {
            bits.extend(logprobs.iter().map(|l| l.chosen.logprob.to_bits()));
        }
        _ => {}
    });
    (answer.expect("an answer"), tally, bits)
}

#[test]
fn answers_are_identical_to_the_bit_whatever_is_guessed() {
    let file = random_model::file(Shape::default());
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let mut accepted = 0;
    for extra in [
        json!({}),
        json!({"temperature": 1.2, "seed": 5}),
        json!({"temperature": 0.7, "seed": 8, "top_k": 3}),
        json!({"repeat_penalty": 1.3, "frequency_penalty": 0.5, "temperature": 0.4, "seed": 1}),
        json!({"n": 3, "temperature": 1, "seed": 3, "top_k": 2}),
        json!({"max_tokens": 1}),
        json!({"max_tokens": 2}),
        json!({"max_tokens": null}),
        json!({"ignore_eos": false}),
        json!({"prompt": [1]}),
        json!({"prompt": "hello hello hello, and something that was not there before"}),
    ] {
        let with = |most: u32| {
            let mut body = request(extra.clone());
            body["draft_max"] = most.into();
            body
        };
        let (truth, none, truth_bits) = answer(&mut engine, &file, with(0));
        assert_eq!(none, Tally::default());
        for most in [1, 3, 15, 127] {
            let (drafted, tally, bits) = answer(&mut engine, &file, with(most));
            assert_eq!(
                (drafted.texts, drafted.tokens, drafted.reasons),
                (truth.texts.clone(), truth.tokens.clone(), truth.reasons.clone()),
                "{extra}, {most}"
            );
            assert_eq!(bits, truth_bits, "{extra}, {most}");
            assert!(tally.accepted <= tally.drafted);
            accepted += tally.accepted;
        }
    }
    assert!(accepted > 100, "{accepted} guesses were right");
}

#[test]
fn a_stop_string_among_guesses_ends_the_answer() {
    let file = random_model::file(Shape::default());
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let (whole, ..) = answer(&mut engine, &file, request(json!({"draft_max": 0})));
    let text: Vec<char> = whole.texts[0].chars().collect();
    for at in 0..text.len().min(40) {
        let stop: String = text[at..text.len().min(at + 2)].iter().collect();
        let ask =
            |engine: &mut Engine, most: u32| answer(engine, &file, request(json!({"stop": stop, "draft_max": most}))).0;
        let truth = ask(&mut engine, 0);
        let drafted = ask(&mut engine, 15);
        assert_eq!((drafted.texts, drafted.reasons), (truth.texts, truth.reasons), "stop {stop:?}");
    }
}

#[test]
fn layers_that_do_not_stay_are_visited_less_often() {
    let file = random_model::file(Shape { layers: 12, feed_forward: 1024, ..Shape::default() });
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let (truth, none, truth_bits) = answer(&mut whole, &file, request(json!({})));
    assert_eq!(none, Tally::default(), "nothing is guessed where all is in memory");
    let most = whole.stats()["memory"]["peakResidentBytes"].as_u64().expect("a number");
    let half = most - file.len() as u64 / 2;
    let ring = OpenOptions { max_resident_bytes: Some(half), ..OpenOptions::default() };
    let waits = |engine: &Engine| engine.stats()["layers"]["syncLoads"].as_u64().expect("a number");
    for options in [ring.clone(), from_disk(half)] {
        let mut engine = open(&file, &options).expect("the model opens");
        let (drafted, tally, bits) = answer(&mut engine, &file, request(json!({})));
        assert_eq!(
            (drafted.texts, drafted.tokens, bits),
            (truth.texts.clone(), truth.tokens.clone(), truth_bits.clone())
        );
        assert!(tally.accepted > 20, "{tally:?}");
    }
    let loads = |most: u32| {
        let mut engine = open(&file, &ring).expect("the model opens");
        answer(&mut engine, &file, request(json!({"draft_max": most})));
        waits(&engine)
    };
    let (with, without) = (loads(15), loads(0));
    assert!(with * 3 < without * 2, "{with} loads with guesses, {without} without");
}

#[test]
fn a_cancelled_draft_leaves_the_engine_usable() {
    let file = random_model::file(Shape::default());
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let (truth, ..) = answer(&mut engine, &file, request(json!({"draft_max": 0})));
    for steps in 0..60 {
        let body = request(json!({"draft_max": 15})).to_string();
        engine.begin(wasm_chord::engine::Request::from_json(&body).expect("a body"), MOMENT).expect("begins");
        for _ in 0..steps {
            engine.step().expect("a step");
        }
        engine.cancel();
        assert_eq!(answer(&mut engine, &file, request(json!({"draft_max": 7}))).0.texts, truth.texts, "after {steps}");
    }
}

#[test]
fn what_one_request_taught_helps_the_next() {
    let file = random_model::file(Shape::default());
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let body = || request(json!({"prompt": "once", "draft_max": 15}));
    let (truth, first, truth_bits) = answer(&mut engine, &file, body());
    // Of an answer that was never given the cache could help too: begin elsewhere in between.
    answer(&mut engine, &file, request(json!({"prompt": "other", "draft_max": 0})));
    let (again, second, bits) = answer(&mut engine, &file, body());
    assert_eq!((again.texts, bits), (truth.texts, truth_bits));
    assert!(second.accepted > first.accepted && second.accepted > 40, "{first:?}, then {second:?}");
}

#[test]
fn passes_give_more_than_one_token_in_prose() {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/chord-tiny.gguf")).expect("the model");
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let mut tokens_per_pass = || {
        let (mut tokens, mut right) = (0, 0);
        for topic in ["a fox", "a boat", "the moon", "a girl and a dog", "winter", "an old man"] {
            let body = json!({
                "kind": "chat", "messages": [{"role": "user", "content": format!("Tell me a story about {topic}.")}],
                "temperature": 0, "max_tokens": 150, "logprobs": true, "draft_max": 15,
            });
            let (answer, tally, _) = answer(&mut engine, &file, body);
            tokens += answer.tokens.len();
            right += tally.accepted;
        }
        f64::from(tokens as u32) / f64::from((tokens - right) as u32)
    };
    let (fresh, again) = (tokens_per_pass(), tokens_per_pass());
    println!("tokens a pass: {fresh:.2} in stories, {again:.2} in the same stories again");
    assert!(fresh > 1.2 && again > 3.0, "{fresh}, {again}");
}
