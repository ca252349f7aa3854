//! Before the embedding table is there, the rows of the prompt's tokens suffice.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, HeaderReader, OpenOptions, Request};
use wasm_chord::pager::State;
use wasm_chord::quant::Dtype;

/// A model whose table is worth requests for its rows, and whose rotations have factors.
fn model(is_tied: bool) -> Vec<u8> {
    let shape = Shape { layers: 2, embedding: 1024, is_tied, ..Shape::default() };
    let factors: Vec<u8> = (0..128).flat_map(|i| (1.0 + i as f32 / 64.0).to_le_bytes()).collect();
    random_model::writer(shape, |_, _| {}).tensor("rope_freqs.weight", &[128], Dtype::F32, &factors).file()
}

fn begun(file: &[u8], options: &OpenOptions, body: &Value) -> Engine {
    let mut reader = HeaderReader::new(Some(file.len() as u64));
    assert!(reader.feed(file).expect("a header"));
    let mut engine = reader.open(options).expect("the model opens");
    engine.set_disk(disk(file.to_vec()));
    engine.begin(Request::from_json(&body.to_string()).expect("a body"), MOMENT).expect("begins");
    engine
}

fn body() -> Value {
    json!({"kind": "completion", "prompt": "hello hello", "temperature": 0, "max_tokens": 6, "ignore_eos": true, "logprobs": 2})
}

/// Supplies one wanted range; false if there is none.
fn supply_one(engine: &mut Engine, file: &[u8]) -> bool {
    let Some(range) = engine.want().expect("room") else { return false };
    supply_piece(engine, range.offset, &file[range.offset as usize..(range.offset + range.length) as usize]);
    true
}

/// Steps to the first token. What the request waits for comes at once, the rest one range at a time.
fn first_token(engine: &mut Engine, file: &[u8]) -> (usize, Vec<State>) {
    let mut pieces = 0;
    loop {
        match engine.step().expect("a step") {
            Event::Wait { .. } => {
                let came = supply_ahead(engine, file);
                pieces += came;
                assert!(came > 0 || supply_one(engine, file), "something is wanted");
            }
            Event::Work => {}
            Event::Token { .. } => return (pieces, engine.groups().collect()),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn the_first_token_comes_before_the_table() {
    let file = model(false);
    let mut engine = begun(&file, &OpenOptions::default(), &body());
    let (pieces, states) = first_token(&mut engine, &file);
    assert_eq!(pieces, 1 + 1 + 4 + 1, "the start token, a space, the letters h, e, l and o, and the factors");
    assert_eq!(states[0], State::Absent, "no byte of the table was fetched");
    assert!(states[1..].iter().all(|state| *state == State::Resident));
}

#[test]
fn a_table_that_the_head_needs_comes_last() {
    let file = model(true);
    let mut engine = begun(&file, &OpenOptions::default(), &body());
    let mut order = Vec::new();
    loop {
        match engine.step().expect("a step") {
            Event::Wait { group } => {
                order.push(group);
                if supply_ahead(&mut engine, &file) == 0 {
                    assert!(supply_one(&mut engine, &file), "something is wanted");
                }
            }
            Event::Token { .. } => break,
            _ => {}
        }
    }
    order.dedup();
    assert_eq!(order, [0, 1, 2, 3, 0], "its rows, the layers, the norm of the head, and the table itself");
}

#[test]
fn answers_are_the_same_with_and_without_the_table() {
    for is_tied in [false, true] {
        let file = model(is_tied);
        let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
        let truth = ask(&mut whole, &file, body()).expect("an answer");
        let bytes = whole.stats()["memory"]["peakResidentBytes"].as_u64().expect("a number");
        for options in [OpenOptions::default(), from_disk(bytes - file.len() as u64 / 2)] {
            let mut reader = HeaderReader::new(Some(file.len() as u64));
            assert!(reader.feed(&file).expect("a header"));
            let mut engine = reader.open(&options).expect("the model opens");
            engine.set_disk(disk(file.clone()));
            assert_eq!(ask(&mut engine, &file, body()).expect("an answer"), truth);
        }
    }
}

#[test]
fn pieces_that_fail_are_wanted_again() {
    let file = model(false);
    let mut engine = begun(&file, &OpenOptions::default(), &body());
    assert!(matches!(engine.step().expect("a step"), Event::Wait { group: 0 }));
    let piece = engine.want_early().expect("a piece");
    engine.refetch_early(piece.clone());
    assert_eq!(engine.want_early(), Some(piece.clone()));
    engine.refetch_early(piece);
    let (pieces, _) = first_token(&mut engine, &file);
    assert_eq!(pieces, 7);
}

#[test]
fn a_prompt_of_very_many_tokens_waits_for_the_table() {
    let shape = Shape { layers: 1, embedding: 1024, context: 512, ..Shape::default() };
    let file = random_model::file(shape);
    let prompt: Vec<u32> = (0..257).collect();
    let asked = json!({"kind": "completion", "prompt": prompt, "temperature": 0, "max_tokens": 2});
    let mut engine = begun(&file, &OpenOptions::default(), &asked);
    let (pieces, states) = first_token(&mut engine, &file);
    assert_eq!((pieces, states[0]), (0, State::Resident));
}
