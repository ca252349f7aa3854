//! A sequence that goes back, is saved and taken up again: the answers are the same.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, OpenOptions, Request};
use wasm_chord::state::Rewind;
use wasm_chord::{ChordError, ErrorCode};

fn opened(file: &[u8]) -> Engine {
    open(file, &OpenOptions::default()).expect("the model opens")
}

fn request(extra: Value) -> Value {
    let mut body = json!({
        "kind": "completion", "prompt": "abcabcabc", "temperature": 0, "max_tokens": 20, "ignore_eos": true, "logprobs": 2,
    });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// The answer, and the bits of its log-probabilities.
fn answer(engine: &mut Engine, file: &[u8], body: Value) -> (Answer, Vec<u32>) {
    let mut bits = Vec::new();
    let answer = ask_with(engine, file, body, |_, event| match event {
        Event::Token { logprobs, .. } | Event::Finish { logprobs, .. } => {
            bits.extend(logprobs.iter().map(|l| l.chosen.logprob.to_bits()));
        }
        _ => {}
    });
    (answer.expect("an answer"), bits)
}

/// Steps a request that is dropped then.
fn dropped(engine: &mut Engine, body: &Value, steps: usize) {
    engine.begin(Request::from_json(&body.to_string()).expect("a body"), MOMENT).expect("begins");
    for _ in 0..steps {
        if matches!(engine.step().expect("a step"), Event::Done { .. }) {
            return;
        }
    }
    engine.cancel();
}

#[test]
fn a_state_that_cannot_go_back_gives_the_same_texts() {
    let file = random_model::file(Shape { layers: 3, ..Shape::default() });
    let bodies = [
        json!({}),
        json!({"prompt": "abcabcabc, and then"}),
        json!({"prompt": "abcabc"}),
        json!({"n": 3, "temperature": 1.2, "seed": 4}),
        json!({"n": 2, "draft_max": 5, "temperature": 0.8, "seed": 9}),
        json!({"draft_max": 7}),
        json!({"draft_max": 15, "max_tokens": 40}),
        json!({"stop": ["c"], "draft_max": 3}),
        json!({"max_tokens": null, "draft_max": 2}),
        json!({"kind": "embedding", "input": "abcabcabc"}),
        json!({"max_tokens": 1}),
    ];
    let mut whole = opened(&file);
    let truth: Vec<_> = bodies.iter().map(|body| answer(&mut whole, &file, request(body.clone()))).collect();
    for rewind in [Rewind::Nowhere, Rewind::Snapshots { every: 5 }, Rewind::Snapshots { every: 1 }] {
        let mut engine = opened(&file);
        engine.limit_rewind(rewind);
        for (index, (body, (expected, bits))) in bodies.iter().zip(&truth).enumerate() {
            dropped(&mut engine, &request(bodies[(index + 3) % bodies.len()].clone()), 3 * index);
            let (found, found_bits) = answer(&mut engine, &file, request(body.clone()));
            assert_eq!(
                (&found.texts, &found.tokens, &found.reasons),
                (&expected.texts, &expected.tokens, &expected.reasons),
                "{rewind:?}: {body}"
            );
            assert_eq!((&found_bits, &found.embedding), (bits, &expected.embedding), "{rewind:?}: {body}");
        }
    }
}

/// A model of which two of four layers have states that hold the whole past.
fn hybrid() -> Vec<u8> {
    random_model::file(Shape { layers: 4, is_hybrid: true, ..Shape::default() })
}

#[test]
fn a_state_that_holds_the_whole_past_gives_the_same_texts() {
    let file = hybrid();
    let long = "abcabcabc".repeat(11);
    let bodies = [
        json!({}),
        json!({"prompt": "abcabcabc, and then"}),
        json!({"prompt": "abcabc"}),
        json!({"n": 3, "temperature": 1.2, "seed": 4}),
        json!({"n": 2, "draft_max": 5, "temperature": 0.8, "seed": 9}),
        json!({"draft_max": 7}),
        json!({"prompt": long, "draft_max": 15, "max_tokens": 20}),
        json!({"prompt": long, "n": 2, "max_tokens": 5}),
        json!({"stop": ["c"], "draft_max": 3}),
        json!({"kind": "embedding", "input": "abcabcabc"}),
        json!({"max_tokens": 1}),
    ];
    let alone = |body: &Value| answer(&mut opened(&file), &file, request(body.clone()));
    let truth: Vec<_> = bodies.iter().map(alone).collect();
    let mut engine = opened(&file);
    for round in 0..3 {
        for (index, (body, (expected, bits))) in bodies.iter().zip(&truth).enumerate() {
            dropped(
                &mut engine,
                &request(bodies[(index + 3 * round) % bodies.len()].clone()),
                (5 * index + round) % 17,
            );
            let (found, found_bits) = answer(&mut engine, &file, request(body.clone()));
            assert_eq!(
                (&found.texts, &found.tokens, &found.reasons),
                (&expected.texts, &expected.tokens, &expected.reasons),
                "{body}"
            );
            assert_eq!((&found_bits, &found.embedding), (bits, &expected.embedding), "{body}");
        }
    }
}

#[test]
fn a_state_that_holds_the_whole_past_goes_back_to_the_end_of_a_prompt() {
    let file = hybrid();
    let mut engine = opened(&file);
    let prompt: Vec<u32> = (20..120).collect();
    let body = |prompt: &[u32], n: u32| json!({"kind": "completion", "prompt": prompt, "temperature": 0, "max_tokens": 3, "n": n, "ignore_eos": true, "logprobs": 0});
    ask(&mut engine, &file, body(&prompt, 1)).expect("an answer");
    // The same again, another choice, and another end each find all of it but the last token.
    for n in [1, 2] {
        assert_eq!(ask(&mut engine, &file, body(&prompt, n)).expect("an answer").cached, prompt.len() - 1);
    }
    let other = [&prompt[..], &[7, 8]].concat();
    assert_eq!(ask(&mut engine, &file, body(&other, 1)).expect("an answer").cached, prompt.len() - 1);
    assert_eq!(ask(&mut engine, &file, body(&prompt[..50], 1)).expect("an answer").cached, 0, "no copy is that old");
}

#[test]
fn a_saved_state_that_holds_the_whole_past_is_taken_up() {
    let file = hybrid();
    let whole = OpenOptions::default();
    let truth = conversation(&file, &whole, |engine| engine);
    let moved = |spoil: &dyn Fn(&mut Engine)| {
        conversation(&file, &whole, |mut engine| {
            spoil(&mut engine);
            let bytes = support::saved(&mut engine);
            let mut other = opened(&file);
            ask(&mut other, &file, request(json!({"prompt": "something else"}))).expect("an answer");
            take_up(&mut other, &bytes).expect("taken up");
            assert_eq!(support::saved(&mut other), bytes, "and saved again it is the same");
            other
        })
    };
    // A pass that was dropped has moved the state on: what is saved is what it was before.
    let dropped = moved(&|engine| dropped(engine, &request(json!({"prompt": "what was said? a lot"})), 3));
    for (tokens, bits, _) in [moved(&|_| {}), dropped] {
        assert_eq!((&tokens, &bits), (&truth.0, &truth.1));
    }
}

#[test]
fn what_follows_a_sequence_needs_no_going_back() {
    let file = random_model::file(Shape::default());
    let first: Vec<u32> = (20..40).collect();
    let body = |prompt: &[u32]| json!({"kind": "completion", "prompt": prompt, "temperature": 0, "max_tokens": 6, "ignore_eos": true, "logprobs": 0});
    let mut engine = opened(&file);
    engine.limit_rewind(Rewind::Nowhere);
    let begun = ask(&mut engine, &file, body(&first)).expect("an answer");
    let longer = [&first[..], &begun.tokens, &[70, 80]].concat();
    let next = ask(&mut engine, &file, body(&longer)).expect("an answer");
    // The last token was chosen, and nothing was computed of it yet.
    assert_eq!(next.cached, first.len() + begun.tokens.len() - 1);
    assert_eq!(next.tokens, ask(&mut opened(&file), &file, body(&longer)).expect("an answer").tokens);
    // Another end of the same beginning does.
    let other = [&first[..], &[99]].concat();
    assert_eq!(ask(&mut engine, &file, body(&other)).expect("an answer").cached, 0);
}

#[test]
fn a_device_that_is_replaced_between_choices_computes_the_prompt_again() {
    let file = random_model::file(Shape::default());
    let body = request(json!({"n": 3, "temperature": 1.3, "seed": 2}));
    let truth = answer(&mut opened(&file), &file, body.clone());
    let (mut engine, mut bits) = (opened(&file), Vec::new());
    let found = ask_with(&mut engine, &file, body, |engine, event| {
        if let Event::Token { logprobs, .. } | Event::Finish { logprobs, .. } = event {
            bits.extend(logprobs.iter().map(|l| l.chosen.logprob.to_bits()));
        }
        if matches!(event, Event::Finish { .. }) {
            engine.attach_cpu().expect("another takes over");
        }
    });
    let found = found.expect("an answer");
    assert_eq!((found.texts, bits), (truth.0.texts, truth.1));
}

/// A conversation in two requests, by an engine that has `between` done to it.
fn conversation(
    file: &[u8],
    options: &OpenOptions,
    between: impl FnOnce(Engine) -> Engine,
) -> (Vec<u32>, Vec<u32>, usize) {
    let mut engine = open(file, options).expect("the model opens");
    let (first, _) = answer(&mut engine, file, request(json!({"prompt": "what was said"})));
    let mut engine = between(engine);
    let said: String = first.texts[0].chars().take(3).collect();
    let prompt = format!("what was said{said}");
    let (second, bits) = answer(&mut engine, file, request(json!({"prompt": prompt})));
    (second.tokens, bits, second.cached)
}

#[test]
fn a_saved_sequence_is_taken_up_with_the_same_tokens() {
    let file = random_model::file(Shape::default());
    let whole = OpenOptions::default();
    let truth = conversation(&file, &whole, |engine| engine);
    assert!(truth.2 >= 14, "{} tokens are found computed", truth.2);
    let longer = OpenOptions { context_length: Some(200), ..OpenOptions::default() };
    let least = open(&file, &OpenOptions { max_resident_bytes: Some(1), ..whole.clone() }).err().expect("refused");
    let paged = OpenOptions { max_resident_bytes: least.details["need"].as_u64(), ..OpenOptions::default() };
    for options in [whole.clone(), longer, paged] {
        let moved = conversation(&file, &whole, |mut engine| {
            let bytes = support::saved(&mut engine);
            let mut other = open(&file, &options).expect("the model opens");
            ask(&mut other, &file, request(json!({"prompt": "something else"}))).expect("an answer");
            assert!(take_up(&mut other, &bytes).expect("taken up") > 14);
            assert_eq!(support::saved(&mut other), bytes, "and saved again it is the same");
            other
        });
        assert_eq!(moved, truth, "{options:?}");
    }
}

#[test]
fn an_empty_sequence_can_be_saved() {
    let file = random_model::file(Shape::default());
    let bytes = support::saved(&mut opened(&file));
    let mut engine = opened(&file);
    ask(&mut engine, &file, request(json!({}))).expect("an answer");
    assert_eq!(take_up(&mut engine, &bytes).expect("taken up"), 0);
    assert_eq!(ask(&mut engine, &file, request(json!({}))).expect("an answer").cached, 0);
}

/// A sequence that was saved, and the tokens of the answer that follows it.
fn saved(file: &[u8]) -> Vec<u8> {
    let mut engine = opened(file);
    ask(&mut engine, file, request(json!({}))).expect("an answer");
    support::saved(&mut engine)
}

fn refusal(engine: &mut Engine, bytes: &[u8]) -> (ErrorCode, Value) {
    let ChordError { code, details, .. } = take_up(engine, bytes).expect_err("refused");
    (code, details.get("reason").cloned().unwrap_or_default())
}

/// Of a sequence without adapters.
const HEADER_BYTES: usize = 44;

#[test]
fn damaged_sequences_are_refused_and_leave_none_in_part() {
    let file = random_model::file(Shape { layers: 2, ..Shape::default() });
    let bytes = saved(&file);
    let mut engine = opened(&file);
    let (truth, _) = answer(&mut engine, &file, request(json!({})));
    // Until the header is whole, what was computed before is still there.
    for length in 0..HEADER_BYTES {
        let reason = if length == 0 { json!("truncated") } else { refusal(&mut engine, &bytes[..length]).1 };
        assert_eq!(reason, json!("truncated"), "of {length} bytes");
    }
    for at in 0..HEADER_BYTES {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        let (code, reason) = refusal(&mut engine, &other);
        assert_eq!(code, ErrorCode::InvalidState, "changed at {at}");
        assert_ne!(reason, json!("model"), "a fingerprint that was changed is damage");
    }
    assert_eq!(refusal(&mut engine, b"GGUF, or whatever else"), (ErrorCode::InvalidState, json!("foreign")));
    let (again, _) = answer(&mut engine, &file, request(json!({})));
    assert_eq!((&again.tokens, again.cached), (&truth.tokens, 10), "what was computed before is still there");
    let same_again = |engine: &mut Engine| {
        let (again, _) = answer(engine, &file, request(json!({})));
        assert_eq!(again.tokens, truth.tokens);
        again.cached
    };
    for length in (HEADER_BYTES..bytes.len()).step_by(97).chain(bytes.len() - 20..bytes.len()) {
        assert_eq!(refusal(&mut engine, &bytes[..length]), (ErrorCode::InvalidState, json!("truncated")));
        if length % 10 == 0 {
            same_again(&mut engine);
        }
    }
    for at in (HEADER_BYTES..bytes.len()).step_by(61).chain(bytes.len() - 20..bytes.len()) {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        assert_eq!(refusal(&mut engine, &other), (ErrorCode::InvalidState, json!("damaged")), "changed at {at}");
        if at % 10 == 0 {
            assert_eq!(same_again(&mut engine), 0, "nothing of it is used");
        }
    }
    assert_eq!(refusal(&mut engine, &[&bytes[..], &[0]].concat()), (ErrorCode::InvalidState, json!("damaged")));
    assert_eq!(same_again(&mut engine), 0);
    // What was begun and dropped does not mix with what comes after it.
    engine.restore(&bytes[..100]).expect("begun");
    engine.drop_restore();
    assert!(take_up(&mut engine, &bytes).expect("taken up") > 10);
    engine.restore(&bytes[..100]).expect("begun");
    same_again(&mut engine);
    assert_eq!(engine.finish_restore().expect_err("nothing is under way").details["reason"], json!("truncated"));
}

#[test]
fn a_sequence_may_come_in_pieces_of_any_size() {
    let file = random_model::file(Shape { layers: 2, ..Shape::default() });
    let bytes = saved(&file);
    for piece in [1, 7, 64, 1000] {
        let mut engine = opened(&file);
        let tokens = support::take_up_with(&mut engine, &bytes, piece, |_| {}).expect("taken up");
        assert!(tokens > 10);
        assert_eq!(support::saved(&mut engine), bytes);
    }
}

#[test]
fn a_sequence_is_saved_between_two_tokens() {
    let file = random_model::file(Shape::default());
    let prompt: Vec<u32> = (20..60).collect();
    let body = json!({"kind": "completion", "prompt": prompt, "temperature": 0, "max_tokens": 8, "ignore_eos": true, "logprobs": 0});
    let truth = ask(&mut opened(&file), &file, body.clone()).expect("an answer");
    let (mut engine, mut all) = (opened(&file), Vec::new());
    let found = ask_with(&mut engine, &file, body, |engine, event| {
        if matches!(event, Event::Token { .. }) {
            all.push(support::saved(engine));
        }
    });
    assert_eq!(found.expect("an answer").tokens, truth.tokens, "the answer is none the worse for it");
    for (count, bytes) in all.iter().enumerate() {
        let mut engine = opened(&file);
        assert_eq!(take_up(&mut engine, bytes).expect("taken up"), prompt.len() + count);
        let begun = [&prompt[..], &truth.tokens[..count + 1]].concat();
        let body = json!({"kind": "completion", "prompt": begun, "temperature": 0, "max_tokens": 7 - count, "ignore_eos": true, "logprobs": 0});
        let rest = ask(&mut engine, &file, body).expect("the rest");
        assert_eq!((rest.cached, rest.tokens.as_slice()), (begun.len() - 1, &truth.tokens[count + 1..]));
    }
    // A state that holds the whole past is saved between requests only.
    let file = hybrid();
    let mut engine = opened(&file);
    engine.begin(Request::from_json(&request(json!({})).to_string()).expect("a body"), MOMENT).expect("begins");
    assert!(!engine.saves_midway() && engine.begin_save().is_err());
}

#[test]
fn sequences_of_other_models_builds_and_rooms_are_refused() {
    let file = random_model::file(Shape::default());
    let bytes = saved(&file);
    for (what, shape) in [
        ("fewer layers", Shape { layers: 5, ..Shape::default() }),
        ("other heads", Shape { kv_heads: 4, ..Shape::default() }),
        ("a tied head", Shape { is_tied: true, ..Shape::default() }),
    ] {
        let mut engine = opened(&random_model::file(shape));
        assert_eq!(refusal(&mut engine, &bytes), (ErrorCode::InvalidState, json!("model")), "{what}");
    }
    // The same tensors under another name.
    let renamed = random_model::writer(Shape::default(), |_, _| {}).pair("general.basename", "other").file();
    assert_eq!(refusal(&mut opened(&renamed), &bytes), (ErrorCode::InvalidState, json!("model")));
    let small = OpenOptions { context_length: Some(12), ..OpenOptions::default() };
    let mut engine = open(&file, &small).expect("the model opens");
    assert_eq!(refusal(&mut engine, &bytes).0, ErrorCode::ContextOverflow);
    // A request in its middle is no sequence.
    let mut engine = opened(&file);
    engine.begin(Request::from_json(&request(json!({})).to_string()).expect("a body"), MOMENT).expect("begins");
    assert!(engine.save().is_err() && engine.restore(&bytes).is_err() && engine.finish_restore().is_err());
    while !matches!(engine.step().expect("the request goes on"), Event::Done { .. }) {}
}

/// A model whose first logits are the hidden state: the head's first rows are those of the identity.
fn bare(pooling: Option<u32>) -> Vec<u8> {
    let shape = Shape { layers: 3, ..Shape::default() };
    let width = shape.embedding as usize;
    let writer = random_model::writer(shape, |name, data| {
        if name == "output.weight" {
            let rows = data.chunks_exact_mut(4 * width).take(width);
            for (row, values) in rows.enumerate() {
                values.fill(0);
                values[4 * row..4 * row + 4].copy_from_slice(&1f32.to_le_bytes());
            }
        }
    });
    match pooling {
        Some(pooling) => writer.pair("llama.pooling_type", pooling).file(),
        None => writer.file(),
    }
}

#[test]
fn embeddings_are_pooled_as_the_file_says() {
    let width = Shape::default().embedding as usize;
    // More tokens than go through the head at once.
    let tokens: Vec<u32> = (0..100).map(|i| 3 + i * 7 % 256).collect();
    let mut plain = opened(&bare(None));
    let logits = plain.logits(&tokens).expect("logits");
    let states: Vec<&[f32]> = logits.chunks_exact(random_model::VOCABULARY as usize).map(|row| &row[..width]).collect();
    let mean: Vec<f32> = (0..width).map(|i| states.iter().map(|state| state[i]).sum()).collect();
    for (pooling, sum) in [
        (None, &mean[..]),
        (Some(0), &mean),
        (Some(1), &mean),
        (Some(2), states[0]),
        (Some(3), states[states.len() - 1]),
    ] {
        let length = sum.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected: Vec<f32> = sum.iter().map(|v| (f64::from(*v) / length) as f32).collect();
        let file = bare(pooling);
        let mut engine = opened(&file);
        for _ in 0..2 {
            let body = json!({"kind": "embedding", "input": tokens});
            let found = ask(&mut engine, &file, body).expect("an embedding").embedding;
            assert!(nmse(&expected, &found) < 1e-10, "{pooling:?}: {}", nmse(&expected, &found));
        }
    }
}

#[test]
fn a_model_that_makes_no_embeddings_says_so() {
    for (pooling, code) in [(4, ErrorCode::UnsupportedArchitecture), (9, ErrorCode::InvalidModel)] {
        let file = bare(Some(pooling));
        let mut engine = opened(&file);
        let error = ask(&mut engine, &file, json!({"kind": "embedding", "input": "text"})).expect_err("refused");
        assert_eq!(error.code, code);
        ask(&mut engine, &file, request(json!({}))).expect("it answers all the same");
    }
}

#[test]
fn embeddings_do_not_multiply_with_the_head() {
    // A head that would make NaN of everything, and is never read.
    let file = random_model::writer(Shape::default(), |name, data| {
        if name == "output.weight" {
            data.chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&f32::NAN.to_le_bytes()));
        }
    })
    .file();
    let mut engine = opened(&file);
    let found = ask(&mut engine, &file, json!({"kind": "embedding", "input": "some text"})).expect("an embedding");
    let sound = random_model::file(Shape::default());
    let truth =
        ask(&mut opened(&sound), &sound, json!({"kind": "embedding", "input": "some text"})).expect("an embedding");
    assert_eq!(found.embedding, truth.embedding);
    assert_eq!(ask(&mut engine, &file, request(json!({}))).expect_err("damaged").code, ErrorCode::NonFinite);
}
