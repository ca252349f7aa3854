//! Every architecture, by itself: random models against a plain forward pass in f64.
//!
//! The pass in `pass.rs` asks for tensors by name; each is made at random when it is asked for first, and what was
//! asked for is the file that the engine then opens. So a test needs no data, and an architecture is a row in
//! `styles.rs`, `further.rs`, `kin.rs` or `encoders.rs`.

#[path = "../support/mod.rs"]
mod support;

mod choices;
mod encoders;
mod further;
mod kin;
mod pass;
mod styles;
mod together;
mod weights;

use serde_json::json;
use std::collections::BTreeSet;
use styles::{CONTEXT, Style};
use support::team::Team;
use support::{Answer, ask, nmse, open};
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::gguf::Value;
use wasm_chord::model::REGISTRY;

/// Sums of f32 against those of f64; keys and values are rounded to f16 in both, now and then to the other
/// neighbour.
const NMSE_MAX: f64 = 1e-7;

/// What an engine makes of a text: logits, an embedding or a score.
fn answer(engine: &mut Engine, file: &[u8], style: &Style, tokens: &[u32]) -> wasm_chord::Result<Vec<f32>> {
    match style.request(tokens) {
        None => engine.logits(tokens),
        Some(request) => ask(engine, file, request).map(values),
    }
}

fn values(answer: Answer) -> Vec<f32> {
    answer.score.map_or(answer.embedding, |score| vec![score])
}

/// Puts a model and what it comes to into the folder that an environment variable names, for other programs to be
/// compared with.
fn keep(style: &Style, number: usize, file: &[u8], truth: &[f32]) {
    let Some(folder) = std::env::var_os("CHORD_RANDOM_MODELS").map(std::path::PathBuf::from) else { return };
    let path = folder.join(format!("{number:03}-{}", style.name));
    let bytes: Vec<u8> = truth.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path.with_extension("gguf"), file).expect("the model is written");
    std::fs::write(path.with_extension("f32"), bytes).expect("the values are written");
}

#[test]
fn every_architecture_agrees_with_a_plain_pass() {
    let mut failures = Vec::new();
    for (number, style) in styles::all().into_iter().enumerate() {
        let tokens = style.tokens();
        let mut weights = weights::Weights::default();
        let truth: Vec<f32> = pass::answer(&mut weights, &style, &tokens).into_iter().map(|v| v as f32).collect();
        let file = weights.file(&style);
        keep(&style, number, &file, &truth);
        let result =
            open(&file, &OpenOptions::default()).and_then(|mut engine| answer(&mut engine, &file, &style, &tokens));
        match result {
            Ok(logits) => {
                let error = nmse(&truth, &logits);
                println!("{:14} NMSE {error:.1e}", style.name);
                if error.is_nan() || error > NMSE_MAX {
                    failures.push(format!("{}: NMSE {error:.2e}", style.name));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", style.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn logits_are_the_same_on_any_number_of_threads() {
    for style in styles::all() {
        let tokens = style.tokens();
        let mut weights = weights::Weights::default();
        pass::answer(&mut weights, &style, &tokens);
        let file = weights.file(&style);
        let options = OpenOptions::default();
        let mut engine = open(&file, &options).expect("the model opens");
        let alone = answer(&mut engine, &file, &style, &tokens).expect("an answer");
        let bits = |logits: &[f32]| logits.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        for threads in [2, 3, 8] {
            let mut team = Team::open(&file, threads, &options).expect("the model opens");
            // A state that holds the whole past is moved on by one thread.
            let expected = if style.recurs() { 1 } else { threads };
            assert_eq!(team.engine.threads(), expected, "{}", style.name);
            if style.recurs() {
                continue;
            }
            team.supply().expect("it is supplied");
            // Twice, and the second time in the cache that the first has left.
            for _ in 0..2 {
                let logits = match style.request(&tokens) {
                    None => team.logits(&tokens).expect("logits"),
                    Some(request) => values(team.ask(request).expect("an answer")),
                };
                assert!(bits(&logits) == bits(&alone), "{} on {threads} threads", style.name);
            }
        }
    }
}

/// Whatever a layer keeps, texts of one pass know nothing of one another.
#[test]
fn texts_of_one_pass_have_the_embeddings_that_they_have_alone() {
    let is_mean = |style: &Style| matches!(style.output, styles::Output::Mean | styles::Output::Logits);
    for style in styles::all().iter().filter(|style| is_mean(style) && (style.looks_ahead || style.recurs())) {
        let tokens = style.tokens();
        let mut weights = weights::Weights::default();
        pass::answer(&mut weights, style, &tokens);
        let file = weights.file(style);
        let texts = [&tokens[..7], &tokens[7..10], &tokens[..], &tokens[3..4]];
        let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
        let mut embed =
            |input| ask(&mut engine, &file, json!({"kind": "embedding", "input": input})).expect("an answer");
        let alone: Vec<Vec<f32>> = texts.iter().map(|text| embed(json!(text)).embedding).collect();
        assert!(embed(json!(texts)).embeddings == alone, "{}", style.name);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn every_architecture_agrees_on_a_gpu() {
    use support::gpu::{DEVICE, NMSE_MAX, device};
    use wasm_chord::engine::HeaderReader;

    let mut failures = Vec::new();
    for style in styles::all() {
        let Some(device) = device(DEVICE) else { return };
        let tokens = style.tokens();
        let mut weights = weights::Weights::default();
        let truth: Vec<f32> = pass::answer(&mut weights, &style, &tokens).into_iter().map(|v| v as f32).collect();
        let file = weights.file(&style);
        let mut reader = HeaderReader::new(Some(file.len() as u64));
        assert!(reader.feed(&file).expect("a header"));
        let mut engine = reader.open_on(device, &OpenOptions::default()).expect("the model opens");
        support::supply(&mut engine, &file).expect("it is supplied");
        let logits = answer(&mut engine, &file, &style, &tokens).expect("an answer");
        let (error, is_on_gpu) = (nmse(&truth, &logits), engine.gpu().is_some());
        println!("{:14} NMSE {error:.1e}{}", style.name, if is_on_gpu { "" } else { " on the CPU" });
        if error.is_nan() || error > NMSE_MAX || !is_on_gpu {
            failures.push(format!("{}: NMSE {error:.2e}, on the GPU: {is_on_gpu}", style.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_table_of_positions_ends_the_context() {
    for style in styles::all().iter().filter(|style| ["gpt2", "starcoder"].contains(&style.name)) {
        let mut weights = weights::Weights::default();
        pass::answer(&mut weights, style, &style.tokens());
        let file = weights.file(style);
        let options = OpenOptions { context_length: Some(1000), ..OpenOptions::default() };
        let mut engine = open(&file, &options).expect("the model opens");
        assert_eq!(engine.info()["contextLength"], CONTEXT);
        let warnings = engine.info()["warnings"].to_string();
        assert!(warnings.contains("has no positions after those"), "{warnings}");
        let prompt = vec![5; CONTEXT];
        let completion = |tokens: usize| json!({"kind": "completion", "prompt": prompt, "max_tokens": tokens});
        let error = ask(&mut engine, &file, completion(1)).expect_err("no position is left");
        assert_eq!(error.code, ErrorCode::ContextOverflow);
        engine.logits(&prompt).expect("a row for every position");
    }
}

#[test]
fn queries_that_would_be_tempered_end_the_context() {
    let mut style = styles::all().into_iter().find(|style| style.name == "mistral3").expect("its row");
    style.keys.push(("attention.temperature_scale", Value::from(0.1f32)));
    style.keys.push(("rope.scaling.original_context_length", Value::from(100u32)));
    let mut weights = weights::Weights::default();
    pass::answer(&mut weights, &style, &style.tokens());
    let file = weights.file(&style);
    let of = |context| open(&file, &OpenOptions { context_length: Some(context), ..OpenOptions::default() });
    of(100).expect("every position is before them");
    let error = of(101).err().expect("the last position is one of them");
    assert_eq!(error.code, ErrorCode::UnsupportedArchitecture);
    assert!(error.message.contains("mistral3 beyond 100 tokens"), "{error}");
}

#[test]
fn a_model_that_fills_texts_in_makes_logits_and_no_text() {
    let style = styles::all().into_iter().find(|style| style.name == "dream").expect("its row");
    let mut weights = weights::Weights::default();
    pass::answer(&mut weights, &style, &style.tokens());
    let file = weights.file(&style);
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let request = json!({"kind": "completion", "prompt": [1, 2, 3], "max_tokens": 1});
    let error = ask(&mut engine, &file, request).expect_err("nothing follows a text");
    assert_eq!(error.code, ErrorCode::UnsupportedArchitecture);
    assert!(error.message.contains("dream"), "{error}");
    assert_eq!(engine.logits(&[1, 2, 3]).expect("logits").len(), 3 * styles::VOCABULARY);
}

#[test]
fn other_architectures_are_errors_that_name_them() {
    // All that llama.cpp knows beside those of the registry, of which some have tensors of the same names.
    let names = "qwen4exp maple muse-glimmer deepseek32 deepseek4 glm-dsa t5 graniteswitch chameleon wavtokenizer-dec \
                 bailingmoe3 dots3note laguna hy_v3 hy_v4 grovemoe minimax-01 hrm_text minimax-m3 cogvlm eagle3 dflash \
                 step35 spark2_5 kimi-k3 talkie nanbeige qwen3tts pockettts gptj gemma4-assistant clip";
    for name in names.split_whitespace().filter(|name| REGISTRY.iter().all(|row| row.name != *name)) {
        let style = styles::llama(name);
        let mut weights = weights::Weights::default();
        pass::answer(&mut weights, &style, &[1]);
        let error = open(&weights.file(&style), &OpenOptions::default()).err().expect("nothing computes it");
        assert_eq!(error.code, ErrorCode::UnsupportedArchitecture, "{name}");
        assert_eq!(error.details["architecture"], name);
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn every_row_of_the_registry_has_a_style() {
    let rows: BTreeSet<&str> = REGISTRY.iter().map(|architecture| architecture.name).collect();
    let styles: BTreeSet<&str> = styles::all().iter().map(|style| style.name).collect();
    let (bare, strange): (Vec<_>, Vec<_>) = (rows.difference(&styles).collect(), styles.difference(&rows).collect());
    assert!(bare.is_empty(), "tests/forward/styles.rs has no row for {bare:?}");
    assert!(strange.is_empty(), "src/model/registry.rs has no row for {strange:?}");
    assert_eq!(rows.len(), REGISTRY.len(), "the registry has each name once");
}
