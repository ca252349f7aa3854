//! States that hold the whole past of a sequence, on a GPU: whatever is asked and dropped, the texts are the CPU's.
#![cfg(feature = "gpu")]

mod support;

use serde_json::{Value, json};
use support::gpu::{DEVICE, device, open_on};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, OpenOptions, Request};

fn hybrid(layers: u32) -> Vec<u8> {
    random_model::file(Shape { layers, is_hybrid: true, ..Shape::default() })
}

fn request(extra: Value) -> Value {
    let mut body =
        json!({"kind": "completion", "prompt": "abcabcabc", "temperature": 0, "max_tokens": 12, "ignore_eos": true});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// Begins an answer and drops it after some steps.
fn drop_after(engine: &mut Engine, body: &Value, steps: usize) {
    engine.begin(Request::from_json(&body.to_string()).expect("a request"), MOMENT).expect("begun");
    for _ in 0..steps {
        match engine.step().expect("a step") {
            Event::Device => engine.wait(),
            Event::Done { .. } => break,
            _ => {}
        }
    }
    engine.cancel();
}

#[test]
fn texts_are_the_cpu_s_whatever_was_dropped_before() {
    let file = hybrid(4);
    let Some(device) = device(DEVICE) else { return };
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let bodies = [
        json!({}),
        json!({"prompt": "abcabcabc, and then"}),
        json!({"prompt": "abcabc"}),
        json!({"n": 3, "temperature": 1.2, "top_k": 20, "seed": 4}),
        json!({"draft_max": 7}),
        json!({"prompt": "abcabcabc".repeat(11), "draft_max": 15, "max_tokens": 20}),
        json!({"stop": ["c"], "draft_max": 3}),
        json!({"max_tokens": 1}),
    ];
    let truth = |body: &Value| {
        let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
        ask(&mut engine, &file, request(body.clone())).expect("an answer")
    };
    let truth: Vec<_> = bodies.iter().map(truth).collect();
    for round in 0..2 {
        for (index, (body, expected)) in bodies.iter().zip(&truth).enumerate() {
            let other = &bodies[(index + 3 * round) % bodies.len()];
            drop_after(&mut engine, &request(other.clone()), (5 * index + round) % 17);
            let found = ask(&mut engine, &file, request(body.clone())).expect("an answer");
            assert_eq!((&found.texts, &found.reasons), (&expected.texts, &expected.reasons), "{body}");
        }
    }
}

#[test]
fn the_end_of_a_prompt_is_gone_back_to() {
    let file = hybrid(4);
    let Some(device) = device(DEVICE) else { return };
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let prompt: Vec<u32> = (20..110).collect();
    let first = ask(&mut engine, &file, request(json!({"prompt": prompt}))).expect("an answer");
    assert_eq!(first.cached, 0);
    let again = ask(&mut engine, &file, request(json!({"prompt": prompt, "n": 2}))).expect("an answer");
    assert_eq!(again.cached, prompt.len() - 1);
    assert_eq!(again.texts[0], first.texts[0]);
}

#[test]
fn a_saved_sequence_moves_between_devices() {
    let file = hybrid(2);
    let Some(first) = device(DEVICE) else { return };
    let body = |prompt: &[u32]| request(json!({"prompt": prompt, "logprobs": 0}));
    let mut engine = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let prompt: Vec<u32> = (20..60).collect();
    let begun = ask(&mut engine, &file, body(&prompt)).expect("an answer");
    let bytes = saved(&mut engine);
    let longer = [&prompt[..], &begun.tokens].concat();
    let expected = ask(&mut engine, &file, body(&longer)).expect("an answer");
    let fresh = device(DEVICE).expect("there was one before");
    let mut other = open_on(&file, fresh, &OpenOptions::default()).expect("the model opens");
    let mut on_cpu = open(&file, &OpenOptions::default()).expect("the model opens");
    for engine in [&mut other, &mut on_cpu] {
        ask(engine, &file, body(&[9, 8, 7])).expect("an answer");
        take_up(engine, &bytes).expect("taken up");
        assert_eq!(saved(engine), bytes, "and saved again it is the same");
        assert_eq!(ask(engine, &file, body(&longer)).expect("an answer").tokens, expected.tokens);
    }
}

#[test]
fn a_lost_device_and_a_ceiling_change_no_token() {
    let file = hybrid(8);
    let Some(first) = device(DEVICE) else { return };
    let body =
        request(json!({"prompt": "A prompt of some length. ".repeat(3), "temperature": 1.1, "top_k": 20, "seed": 8}));
    let mut on_cpu = open(&file, &OpenOptions::default()).expect("the model opens");
    let expected = ask(&mut on_cpu, &file, body.clone()).expect("an answer").texts;
    let mut engine = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let mut events = 0;
    let answer = ask_with(&mut engine, &file, body.clone(), |engine, event| {
        if matches!(event, Event::Lost) {
            engine.attach(device(DEVICE).expect("there was one before")).expect("attaches");
        }
        events += 1;
        if events == 20 {
            engine.gpu().expect("a GPU").device().destroy();
        }
    });
    assert_eq!(answer.expect("an answer").texts, expected);
    let most = engine.stats()["memory"]["peakResidentBytes"].as_u64().expect("bytes");
    let options = OpenOptions { max_resident_bytes: Some(most - file.len() as u64 / 2), ..OpenOptions::default() };
    let under = device(DEVICE).expect("there was one before");
    let mut engine = open_on(&file, under, &options).expect("the model opens under a ceiling");
    assert_eq!(ask(&mut engine, &file, body).expect("an answer").texts, expected);
    assert!(engine.stats()["layers"]["evictions"].as_u64().expect("a count") > 0);
}
