//! The model that ships with the project answers as the numpy reference of `models/` says, from file to text.

mod support;

use serde_json::{Value, json};
use support::*;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::tokenizer::EncodeOptions;

/// Activations are rounded to int8 here and exact in the reference, so texts are compared only where each chosen
/// logit leads the next by this much.
const LEAD_MIN: f64 = 0.5;

fn model() -> (Engine, Vec<u8>, Value) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/");
    let file = std::fs::read(format!("{folder}chord-tiny.gguf")).expect("the model");
    let expected = std::fs::read_to_string(format!("{folder}chord-tiny.expected.json")).expect("what is expected");
    let engine = open(&file, &OpenOptions::default()).expect("the model opens");
    (engine, file, serde_json::from_str(&expected).expect("valid JSON"))
}

fn entries<'a>(expected: &'a Value, name: &str) -> &'a [Value] {
    expected[name].as_array().expect("a list")
}

fn sure(entry: &Value) -> bool {
    entry["lead"].as_f64().expect("a number") >= LEAD_MIN
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().expect("a string")
}

#[test]
fn texts_are_cut_as_in_training() {
    let (engine, _, expected) = model();
    for entry in entries(&expected, "encodings") {
        let tokens = engine.tokenizer().encode(text(entry, "text"), EncodeOptions::default()).expect("tokens");
        assert_eq!(tokens, ids(&entry["ids"]), "{:?}", text(entry, "text"));
    }
}

#[test]
fn chats_are_rendered_and_cut_as_in_training() {
    let (engine, _, expected) = model();
    let options = EncodeOptions { add_special: true, parse_special: true };
    for entry in entries(&expected, "chats") {
        let body = json!({"messages": entry["messages"], "add_generation_prompt": true});
        let prompt = engine.apply_chat_template(&body.to_string(), MOMENT.now).expect("a prompt");
        assert_eq!(prompt, text(entry, "prompt"));
        assert_eq!(engine.tokenizer().encode(&prompt, options).expect("tokens"), ids(&entry["prompt_ids"]));
    }
}

#[test]
fn an_answer_that_was_begun_is_continued() {
    let (mut engine, file, expected) = model();
    let mut continued = 0;
    for entry in entries(&expected, "chats").iter().filter(|e| sure(e)) {
        let (begun, rest) = text(entry, "text").split_at(text(entry, "text").len().min(12));
        if !begun.is_ascii() || begun.ends_with(' ') {
            continue;
        }
        let mut messages = entry["messages"].as_array().expect("messages").clone();
        messages.push(json!({"role": "assistant", "content": begun}));
        let body = json!({"messages": messages, "continue_final_message": true});
        let prompt = engine.apply_chat_template(&body.to_string(), MOMENT.now).expect("a prompt");
        assert_eq!(prompt, format!("{}{begun}", text(entry, "prompt")));
        let body = json!({"kind": "chat", "messages": messages, "continue_final_message": true, "temperature": 0, "max_tokens": 240});
        let answer = ask(&mut engine, &file, body.clone()).expect("an answer");
        continued += usize::from(answer.texts[0].starts_with(rest));
    }
    assert!(continued > 0, "an answer goes on as it would have");
    let both = json!({"messages": [{"role": "assistant", "content": "a"}], "continue_final_message": true, "add_generation_prompt": true});
    let error = engine.apply_chat_template(&both.to_string(), MOMENT.now).expect_err("both");
    assert_eq!(error.details["name"], "continue_final_message");
}

#[test]
fn sure_answers_are_those_of_the_reference() {
    let (mut engine, file, expected) = model();
    let (mut chats, mut completions) = (0, 0);
    for entry in entries(&expected, "chats").iter().filter(|e| sure(e)) {
        let body = json!({"kind": "chat", "messages": entry["messages"], "temperature": 0, "max_tokens": 240});
        let answer = ask(&mut engine, &file, body).expect("an answer");
        assert_eq!(answer.texts, [text(entry, "text")]);
        chats += 1;
    }
    for entry in entries(&expected, "completions").iter().filter(|e| sure(e)) {
        let body = json!({"kind": "completion", "prompt": entry["prompt"], "temperature": 0, "max_tokens": 160});
        let answer = ask(&mut engine, &file, body).expect("an answer");
        assert_eq!(answer.texts, [text(entry, "text")]);
        completions += 1;
    }
    assert!(chats >= 5, "only {chats} of the expected answers are sure");
    println!("{chats} chats and {completions} completions are equal");
}

/// Each token of the reference's answers is among the best here too, those of the long and free stories as well.
#[test]
fn every_expected_token_is_nearly_the_best() {
    let (mut engine, _, expected) = model();
    for entry in entries(&expected, "chats").iter().chain(entries(&expected, "completions")) {
        let (prompt, answer) = (ids(&entry["prompt_ids"]), ids(&entry["ids"]));
        let logits = engine.logits(&[prompt.clone(), answer.clone()].concat()).expect("logits");
        let vocabulary = logits.len() / (prompt.len() + answer.len());
        for (at, &token) in answer.iter().enumerate() {
            let row = &logits[(prompt.len() + at - 1) * vocabulary..][..vocabulary];
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            assert!(row[token as usize] >= best - LEAD_MIN as f32, "token {at} of {:?}", text(entry, "text"));
        }
    }
}

/// Activations are rounded to int8 here, and in the reference where its processor wants that.
const EMBEDDING_NMSE_MAX: f64 = 5e-3;

/// The same file with a `pooling_type`. Data is aligned to 32 bytes, so two pairs are put in, of 64 bytes together.
fn with_pooling(file: &[u8], pooling: u32) -> Vec<u8> {
    let pair = |key: &str, value: u32| {
        let u32_type = 4u32;
        [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &u32_type.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let pairs = [pair("llama.pooling_type", pooling), pair("general.filler", 0)].concat();
    assert_eq!(pairs.len(), 64);
    let count = u64::from_le_bytes(std::array::from_fn(|i| file[16 + i])) + 2;
    [&file[..16], &count.to_le_bytes(), &pairs, &file[24..]].concat()
}

#[test]
fn embeddings_are_those_of_llama_cpp() {
    let (_, file, _) = model();
    let expected: Value = serde_json::from_str(include_str!("embeddings.json")).expect("valid JSON");
    for (file, name) in [
        (file.clone(), "mean"),
        (with_pooling(&file, 1), "mean"),
        (with_pooling(&file, 2), "first"),
        (with_pooling(&file, 3), "last"),
    ] {
        let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
        let body = json!({"kind": "embedding", "input": expected["tokens"]});
        let found = ask(&mut engine, &file, body).expect("an embedding").embedding;
        let truth: Vec<f32> = entries(&expected, name).iter().map(|v| v.as_f64().expect("a number") as f32).collect();
        let error = nmse(&truth, &found);
        println!("{name:5} NMSE {error:.2e}");
        assert!(error < EMBEDDING_NMSE_MAX, "{name}: {error:.2e}");
    }
}
