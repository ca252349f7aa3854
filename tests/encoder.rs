//! Requests to encoders and rerankers.

mod support;

use serde_json::{Value as Json, json};
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::gguf::testing::Writer;
use wasm_chord::gguf::{Array, Value};
use wasm_chord::quant::Dtype;

const WIDTH: u64 = 64;
const INNER: u64 = 128;
const CONTEXT: u64 = 96;
const LAYERS: u32 = 3;

/// Words, most of them of one letter.
fn tokens() -> Vec<String> {
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let letters = ('a'..='z').flat_map(|letter| [format!("\u{2581}{letter}"), letter.to_string()]);
    marks.into_iter().chain(letters).chain(["\u{2581}hello".into(), "\u{2581}?".into()]).collect()
}

/// Numbers between −1 and 1 that anybody can compute again: n · 7919 mod 997, scaled.
fn values(name: &str, count: u64) -> Vec<u8> {
    let first: u64 = name.bytes().map(u64::from).sum();
    let is_vector = count <= INNER;
    let scale = if is_vector { 0.1 } else { 0.2 };
    let mean = if is_vector && name.ends_with("norm.weight") { 1.0 } else { 0.0 };
    let value = |at: u64| mean + scale * (((first + at) * 7919 % 997) as f32 / 498.0 - 1.0);
    (0..count).flat_map(|at| value(at).to_le_bytes()).collect()
}

/// A BERT that pools in this way, or with a classifier for 4.
fn model(pooling: u32) -> Vec<u8> {
    let tokens = tokens();
    let texts: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let kinds = (0..texts.len()).map(|id| if id < 5 { 3 } else { 1 }).collect();
    let mut file = Writer::new()
        .pair("general.architecture", "bert")
        .pair("bert.attention.layer_norm_epsilon", 1e-12f32)
        .pair("bert.attention.causal", false)
        .pair("tokenizer.ggml.model", "bert")
        .pair("tokenizer.ggml.tokens", texts.as_slice())
        .pair("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)))
        .pair("tokenizer.ggml.bos_token_id", 2u32)
        .pair("tokenizer.ggml.seperator_token_id", 3u32)
        .pair("tokenizer.ggml.unknown_token_id", 1u32)
        .pair("tokenizer.ggml.padding_token_id", 0u32)
        .pair("tokenizer.ggml.token_type_count", 2u32);
    for (key, value) in [
        ("block_count", LAYERS),
        ("context_length", CONTEXT as u32),
        ("embedding_length", WIDTH as u32),
        ("feed_forward_length", INNER as u32),
        ("attention.head_count", 4),
        ("pooling_type", pooling),
    ] {
        file = file.pair(&format!("bert.{key}"), value);
    }
    let mut tensors: Vec<(String, Vec<u64>)> = vec![
        ("token_embd.weight".into(), vec![WIDTH, texts.len() as u64]),
        ("token_types.weight".into(), vec![WIDTH, 2]),
        ("position_embd.weight".into(), vec![WIDTH, CONTEXT]),
        ("token_embd_norm.weight".into(), vec![WIDTH]),
        ("token_embd_norm.bias".into(), vec![WIDTH]),
    ];
    for layer in 0..LAYERS {
        for (name, columns, rows) in [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_up", WIDTH, INNER),
            ("ffn_down", INNER, WIDTH),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), vec![columns, rows]));
            tensors.push((format!("blk.{layer}.{name}.bias"), vec![rows]));
        }
        for name in ["attn_output_norm", "layer_output_norm"] {
            tensors.push((format!("blk.{layer}.{name}.weight"), vec![WIDTH]));
            tensors.push((format!("blk.{layer}.{name}.bias"), vec![WIDTH]));
        }
    }
    if pooling == 4 {
        tensors.push(("cls.weight".into(), vec![WIDTH, WIDTH]));
        tensors.push(("cls.bias".into(), vec![WIDTH]));
        tensors.push(("cls.output.weight".into(), vec![WIDTH, 1]));
        tensors.push(("cls.output.bias".into(), vec![1]));
    }
    for (name, shape) in tensors {
        let data = values(&name, shape.iter().product());
        file = file.tensor(&name, &shape, Dtype::F32, &data);
    }
    file.file()
}

fn opened(file: &[u8]) -> Engine {
    open(file, &OpenOptions::default()).expect("the model opens")
}

fn embed(engine: &mut Engine, file: &[u8], input: Json) -> Vec<f32> {
    ask(engine, file, json!({"kind": "embedding", "input": input})).expect("an embedding").embedding
}

/// `[CLS]`, words and `[SEP]`, as many as fit: more than a batch has.
fn long_input() -> Vec<u32> {
    let words = (0..CONTEXT as u32 - 2).map(|at| 5 + at * 11 % 54);
    [2].into_iter().chain(words).chain([3]).collect()
}

/// What llama.cpp makes of the same model and input: the first values of the embedding, of length one, and the score. It
/// rounds what GELU takes to f16.
#[test]
fn numbers_are_those_of_llama_cpp() {
    for (pooling, expected) in [
        (1, [0.0653, -0.1685, 0.1631, 0.1912, 0.0481, 0.0649, 0.0013, -0.1537]),
        (2, [0.0051, -0.2715, -0.0441, 0.1393, 0.0259, 0.1509, 0.1104, -0.062]),
        (3, [0.1146, 0.0165, 0.2004, 0.0384, -0.0911, -0.1021, -0.1739, -0.1296]),
    ] {
        let file = model(pooling);
        let embedding = embed(&mut opened(&file), &file, json!(long_input()));
        let is_near = embedding.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 1e-3);
        assert!(is_near, "{pooling}: {:?}", &embedding[..8]);
    }
    let file = model(4);
    let answer = ask(&mut opened(&file), &file, json!({"kind": "score", "input": long_input()})).expect("an answer");
    let score = answer.score.expect("a score");
    assert!((score + 0.3222).abs() < 1e-3, "{score}");
}

#[test]
fn texts_are_embedded_between_their_marks() {
    for pooling in [1, 2, 3] {
        let file = model(pooling);
        let mut engine = opened(&file);
        let of_text = embed(&mut engine, &file, json!("Hello, a b?"));
        assert_eq!(of_text, embed(&mut engine, &file, json!([2, 57, 1, 5, 7, 58, 3])));
        assert!((of_text.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
        // Nothing that was computed before is of use: every token sees every other one.
        let after = embed(&mut engine, &file, json!([2, 57, 1, 5, 7, 58, 3, 3]));
        assert_eq!(after, embed(&mut opened(&file), &file, json!([2, 57, 1, 5, 7, 58, 3, 3])));
        assert_eq!(of_text, embed(&mut engine, &file, json!("hello, a b?")));
    }
}

#[test]
fn an_encoder_says_what_it_is_for() {
    for (pooling, words) in [(1, "an encoder (bert)"), (4, "a reranker (bert)")] {
        let file = model(pooling);
        let mut engine = opened(&file);
        for body in [
            json!({"kind": "chat", "messages": [{"role": "user", "content": "hello"}]}),
            json!({"kind": "completion", "prompt": "hello"}),
        ] {
            let error = ask(&mut engine, &file, body).expect_err("refused");
            assert_eq!(error.code, ErrorCode::UnsupportedArchitecture);
            assert!(error.message.contains(words), "{error}");
            assert_eq!(error.details["architecture"], "bert");
        }
        let (works, other) = (json!({"kind": "embedding", "input": "hello"}), score("hello", "a"));
        let (works, other) = if pooling == 4 { (other, works) } else { (works, other) };
        let error = ask(&mut engine, &file, other).expect_err("refused");
        assert_eq!(error.code, ErrorCode::UnsupportedArchitecture, "{error}");
        ask(&mut engine, &file, works).expect("what it is for");
    }
}

#[test]
fn a_text_is_no_longer_than_the_positions_that_the_model_has() {
    let file = model(1);
    let options = OpenOptions { context_length: Some(1000), ..OpenOptions::default() };
    let mut engine = open(&file, &options).expect("the model opens");
    embed(&mut engine, &file, json!(long_input()));
    let mut input = long_input();
    input.push(3);
    let error = ask(&mut engine, &file, json!({"kind": "embedding", "input": input})).expect_err("too long");
    assert_eq!(error.code, ErrorCode::ContextOverflow);
    assert_eq!(error.details["have"], CONTEXT);
}

fn score(query: &str, document: &str) -> Json {
    json!({"kind": "score", "query": query, "documents": document})
}

#[test]
fn documents_have_scores_of_their_own() {
    let file = model(4);
    let mut engine = opened(&file);
    let mut of = |body: Json| ask(&mut engine, &file, body).expect("a score").score.expect("a score");
    let [first, second] = ["a b c", "hello"].map(|document| of(score("hello ?", document)));
    assert_ne!(first, second);
    // A mark in a document is text.
    assert_eq!(
        of(score("hello ?", "a [SEP]")),
        of(json!({"kind": "score", "input": [2, 57, 58, 3, 5, 1, 41, 14, 36, 1, 3]}))
    );
    assert_eq!(of(score("hello ?", "a b c")), first);
}

#[test]
fn results_are_the_same_under_any_ceiling() {
    for pooling in [1, 4] {
        let file = model(pooling);
        let kind = if pooling == 4 { "score" } else { "embedding" };
        let body = json!({"kind": kind, "input": long_input()});
        let expected = ask(&mut opened(&file), &file, body.clone()).expect("an answer");
        let by_ring = OpenOptions { max_resident_bytes: Some(1), ..OpenOptions::default() };
        let need = open(&file, &by_ring).err().expect("refused").details["need"].as_u64().expect("what it needs");
        let by_ring = OpenOptions { max_resident_bytes: Some(need), ..by_ring };
        for options in [by_ring, from_disk(least_from_disk(&file))] {
            let mut engine = open(&file, &options).expect("the model opens");
            assert_eq!(ask(&mut engine, &file, body.clone()).expect("an answer"), expected);
        }
    }
}

/// Inputs of several lengths, more of them than one pass takes; one begins in a batch and ends in the next.
fn inputs() -> Vec<Vec<u32>> {
    let length = |number: u32| 1 + number * 17 % 47;
    (0..8).map(|number| (0..length(number)).map(|at| 5 + (at * 11 + number) % 54).collect()).collect()
}

#[test]
fn inputs_of_one_pass_have_the_results_that_they_have_alone() {
    for pooling in [1, 3, 4] {
        let file = model(pooling);
        let kind = if pooling == 4 { "score" } else { "embedding" };
        let body = |input: Json| json!({"kind": kind, "input": input});
        let mut engine = opened(&file);
        let alone = |input| ask(&mut engine, &file, body(json!(input))).expect("an answer");
        let alone: Vec<Answer> = inputs().into_iter().map(alone).collect();
        let body = body(json!(inputs()));
        let least = OpenOptions { max_resident_bytes: Some(1), ..OpenOptions::default() };
        let need = open(&file, &least).err().expect("refused").details["need"].as_u64().expect("what it needs");
        let by_ring = OpenOptions { max_resident_bytes: Some(need), ..least };
        for options in [OpenOptions::default(), by_ring, from_disk(least_from_disk(&file))] {
            let answer =
                ask(&mut open(&file, &options).expect("the model opens"), &file, body.clone()).expect("an answer");
            assert!(answer.embeddings.iter().eq(alone.iter().map(|one| &one.embedding).filter(|one| !one.is_empty())));
            assert!(answer.scores.iter().eq(alone.iter().filter_map(|one| one.score.as_ref())));
            assert_eq!(answer.embeddings.len() + answer.scores.len(), inputs().len());
        }
        for threads in [2, 3] {
            let mut team = support::team::Team::open(&file, threads, &OpenOptions::default()).expect("the model opens");
            team.supply().expect("it is supplied");
            let answer = team.ask(body.clone()).expect("an answer");
            assert!(answer.embeddings.iter().eq(alone.iter().map(|one| &one.embedding).filter(|one| !one.is_empty())));
            assert!(answer.scores.iter().eq(alone.iter().filter_map(|one| one.score.as_ref())));
        }
        // Nothing of them is taken for the beginning of another text.
        ask(&mut engine, &file, body).expect("an answer");
        let again = ask(&mut engine, &file, json!({"kind": kind, "input": inputs()[0]})).expect("an answer");
        assert_eq!(again, alone[0]);
    }
}

#[test]
fn one_input_that_cannot_be_fails_them_all() {
    let file = model(1);
    let mut engine = opened(&file);
    for (input, code) in [
        (json!([[5, 6], []]), ErrorCode::InvalidParameter),
        (json!([[5, 6], [1000]]), ErrorCode::InvalidParameter),
        (json!([[5, 6], vec![5; CONTEXT as usize + 1]]), ErrorCode::ContextOverflow),
        (json!([]), ErrorCode::InvalidParameter),
        (json!([[5], 3]), ErrorCode::InvalidParameter),
    ] {
        let error = ask(&mut engine, &file, json!({"kind": "embedding", "input": input})).expect_err("refused");
        assert_eq!(error.code, code, "{error}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_takes_several_inputs_too() {
    let Some(device) = support::gpu::device(support::gpu::DEVICE) else { return };
    let (file, body) = (model(1), json!({"kind": "embedding", "input": inputs()}));
    let expected = ask(&mut opened(&file), &file, body.clone()).expect("an answer").embeddings;
    let reader = read(std::slice::from_ref(&file)).expect("a header");
    let mut engine = reader.open_on(device, &OpenOptions::default()).expect("the model opens");
    supply(&mut engine, &file).expect("it is supplied");
    let found = ask(&mut engine, &file, body).expect("an answer").embeddings;
    assert!(engine.gpu().is_some() && found.len() == expected.len());
    assert!(nmse(&expected.concat(), &found.concat()) < support::gpu::NMSE_MAX);
}
