//! Keys and values in 8-bit integers: what they take, that they are as good as those in half precision, and that nothing
//! else changes.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::team::Team;
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::program::KvFormat;
use wasm_chord::state::Rewind;
use wasm_chord::tokenizer::EncodeOptions;

fn options(kv_cache: KvFormat) -> OpenOptions {
    OpenOptions { kv_cache, ..OpenOptions::default() }
}

fn opened(file: &[u8], format: KvFormat) -> Engine {
    open(file, &options(format)).expect("the model opens")
}

/// A model with heads of 64 values.
fn with_whole_blocks() -> Vec<u8> {
    random_model::file(Shape { layers: 3, embedding: 256, ..Shape::default() })
}

fn request(extra: Value) -> Value {
    let mut body = json!({
        "kind": "completion", "prompt": "abcabcabc", "temperature": 0, "max_tokens": 20, "ignore_eos": true, "logprobs": 0,
    });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

fn bytes_of(engine: &Engine) -> (u64, String) {
    let memory = &engine.stats()["memory"];
    (memory["kvBytes"].as_u64().expect("bytes"), memory["kvCache"].as_str().expect("a format").into())
}

#[test]
fn keys_and_values_take_about_half_of_the_memory() {
    let file = with_whole_blocks();
    let [whole, quantised] = [KvFormat::F16, KvFormat::Q8_0].map(|format| bytes_of(&opened(&file, format)));
    // Keys and values of 2 heads of 64 values in 3 layers, for 128 positions; of a row two scales.
    assert_eq!(whole, (2 * 2 * 3 * 128 * (2 * 64), "f16".into()));
    assert_eq!(quantised, (2 * 2 * 3 * 128 * (64 + 4), "q8_0".into()));
}

#[test]
fn heads_that_are_not_made_of_whole_blocks_stay_as_they_are_and_it_is_said() {
    let warning = |engine: &Engine| {
        let warnings = engine.info()["warnings"].as_array().expect("a list").clone();
        warnings.iter().find_map(|text| text.as_str().filter(|text| text.contains("kvCache")).map(String::from))
    };
    let file = random_model::file(Shape::default());
    let (whole, quantised) = (opened(&file, KvFormat::F16), opened(&file, KvFormat::Q8_0));
    assert_eq!(bytes_of(&whole), bytes_of(&quantised));
    assert_eq!(warning(&whole), None);
    let said = warning(&quantised).expect("a warning");
    assert!(said.contains("6 of 6 layers") && said.contains("f16"), "{said}");
    assert_eq!(warning(&opened(&with_whole_blocks(), KvFormat::Q8_0)), None);
}

#[test]
fn an_unknown_format_is_refused() {
    let error = OpenOptions::from_json(r#"{"kvCache": "q4_0"}"#).expect_err("refused");
    assert_eq!(error.code, ErrorCode::InvalidParameter);
    assert!(error.message.contains("q4_0") && error.message.contains("q8_0"), "{}", error.message);
    assert_eq!(OpenOptions::from_json(r#"{"kvCache": "q8_0"}"#).expect("known").kv_cache, KvFormat::Q8_0);
}

/// How well the model that ships guesses texts of its corpus that it was not trained on: e to the mean of what each
/// token surprises it by.
fn perplexity(format: KvFormat) -> f64 {
    let folder = env!("CARGO_MANIFEST_DIR");
    let file = std::fs::read(format!("{folder}/models/chord-tiny.gguf")).expect("the model");
    let texts = std::fs::read_to_string(format!("{folder}/tests/held_out.txt")).expect("texts");
    let mut engine = opened(&file, format);
    let encode = EncodeOptions { add_special: true, parse_special: true };
    let (mut surprise, mut count) = (0.0, 0);
    for document in texts.trim().split("\n\n") {
        let turn = |line: &str| match line.split_once(": ") {
            Some((role @ ("user" | "assistant" | "system"), text)) => {
                format!("<|im_start|>{role}\n{text}<|im_end|>\n")
            }
            _ => format!("{line}\n"),
        };
        let text: String = document.lines().map(turn).collect();
        let mut tokens = engine.tokenizer().encode(&text, encode).expect("tokens");
        tokens.truncate(500);
        let logits = engine.logits(&tokens).expect("logits");
        for (row, next) in logits.chunks_exact(logits.len() / tokens.len()).zip(&tokens[1..]) {
            let highest = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - highest).exp()).sum();
            surprise += sum.ln() - f64::from(row[*next as usize] - highest);
            count += 1;
        }
    }
    assert!(count > 1000, "only {count} tokens");
    (surprise / f64::from(count)).exp()
}

#[test]
fn held_out_texts_are_guessed_as_well_as_from_half_precision() {
    let [whole, quantised] = [KvFormat::F16, KvFormat::Q8_0].map(perplexity);
    let change = quantised / whole - 1.0;
    println!("perplexity {whole:.4} in f16, {quantised:.4} in q8_0: {:+.3} %", 100.0 * change);
    assert!(change != 0.0, "another format gives other bits");
    assert!(change.abs() < 0.005);
    // A model that guesses nothing is not made worse by anything.
    assert!(whole < 20.0, "{whole}");
}

#[test]
fn logits_are_nearly_those_of_half_precision() {
    let file = with_whole_blocks();
    let tokens: Vec<u32> = (0..120).map(|at| 3 + at * at * 7 % 250).collect();
    let [truth, logits] = [KvFormat::F16, KvFormat::Q8_0].map(|f| opened(&file, f).logits(&tokens).expect("logits"));
    let error = nmse(&truth, &logits);
    println!("NMSE {error:.1e}");
    assert!(error > 0.0 && error < 1e-4, "NMSE {error:.1e}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let file = random_model::file(Shape { layers: 2, embedding: 256, kv_heads: 4, ..Shape::default() });
    let tokens: Vec<u32> = (0..90).map(|at| 3 + at * at * 5 % 250).collect();
    let truth = opened(&file, KvFormat::Q8_0).logits(&tokens).expect("logits");
    for threads in [1, 2, 3, 4] {
        let mut team = Team::open(&file, threads, &options(KvFormat::Q8_0)).expect("it opens");
        assert_eq!(team.engine.threads(), threads);
        team.supply().expect("it is supplied");
        assert!(team.logits(&tokens).expect("logits") == truth, "{threads} threads");
    }
}

#[test]
fn a_state_that_cannot_go_back_gives_the_same_texts() {
    let file = with_whole_blocks();
    let bodies =
        [json!({}), json!({"prompt": "abcabcabc, and then"}), json!({"draft_max": 7}), json!({"prompt": "abc"})];
    let mut whole = opened(&file, KvFormat::Q8_0);
    let mut limited = opened(&file, KvFormat::Q8_0);
    limited.limit_rewind(Rewind::Snapshots { every: 5 });
    for body in bodies {
        let truth = ask(&mut whole, &file, request(body.clone())).expect("an answer");
        let found = ask(&mut limited, &file, request(body.clone())).expect("an answer");
        assert_eq!((found.texts, found.tokens), (truth.texts, truth.tokens), "{body}");
    }
}

#[test]
fn saved_sequences_are_taken_up_in_their_own_format_only() {
    let file = with_whole_blocks();
    let engines = || [KvFormat::F16, KvFormat::Q8_0].map(|format| opened(&file, format));
    let saved = engines().map(|mut engine| {
        let answer = ask(&mut engine, &file, request(json!({}))).expect("an answer");
        (support::saved(&mut engine), answer)
    });
    assert!(saved[1].0.len() < saved[0].0.len() * 6 / 10, "half of the bytes");
    for (at, mut engine) in engines().into_iter().enumerate() {
        let error = take_up(&mut engine, &saved[1 - at].0).expect_err("of the other format");
        assert_eq!((error.code, &error.details["reason"]), (ErrorCode::InvalidState, &json!("model")));
        assert!(error.message.contains("kvCache"), "{}", error.message);
        let (bytes, begun) = &saved[at];
        let reached = take_up(&mut engine, bytes).expect("taken up");
        assert_eq!(&support::saved(&mut engine), bytes, "and saved again it is the same");
        let prompt: Vec<u32> = engine
            .tokenizer()
            .encode("abcabcabc", EncodeOptions { add_special: true, parse_special: true })
            .expect("tokens");
        let longer = [&prompt[..], &begun.tokens].concat();
        let longer = json!({"prompt": longer, "max_tokens": 8});
        let next = ask(&mut engine, &file, request(longer.clone())).expect("an answer");
        assert_eq!(next.cached, reached);
        let format = [KvFormat::F16, KvFormat::Q8_0][at];
        assert_eq!(next.tokens, ask(&mut opened(&file, format), &file, request(longer)).expect("an answer").tokens);
    }
}

#[test]
fn memory_for_keys_and_values_grows_with_the_sequence() {
    let resident = |engine: &Engine| engine.stats()["memory"]["residentBytes"].as_u64().expect("bytes");
    let shape = Shape { layers: 2, embedding: 128, context: 1000, ..Shape::default() };
    for (file, format) in [
        (random_model::file(shape), KvFormat::F16),
        (random_model::file(shape), KvFormat::Q8_0),
        (random_model::file(Shape { layers: 4, is_hybrid: true, ..shape }), KvFormat::F16),
    ] {
        let text: Vec<u32> = (0..900).map(|at| 3 + at * at * 7 % 250).collect();
        let body = |tokens: usize| request(json!({"prompt": text[..tokens], "max_tokens": 12}));
        let mut grown = opened(&file, format);
        let first = resident(&grown);
        // Each goes on where the one before ended.
        for tokens in [20, 250, 300, 600] {
            ask(&mut grown, &file, body(tokens)).expect("an answer");
        }
        let mut whole = opened(&file, format);
        let mut answers = [&mut grown, &mut whole].map(|engine| ask(engine, &file, body(900)).expect("an answer"));
        assert!(answers[0].cached >= 580 && answers[1].cached == 0);
        answers[1].cached = answers[0].cached;
        assert_eq!(answers[0], answers[1], "{format:?}");
        assert!(resident(&grown) > first);
        // A sequence that was saved finds room.
        let bytes = saved(&mut grown);
        let mut other = opened(&file, format);
        take_up(&mut other, &bytes).expect("taken up");
        assert!(saved(&mut other) == bytes);
        assert_eq!(resident(&other), resident(&grown));
    }
}

#[cfg(feature = "gpu")]
mod on_gpu {
    use super::support::gpu::{DEVICE, NMSE_MAX, device, open_on};
    use super::*;

    #[test]
    fn the_gpu_keeps_the_same_and_uses_every_kernel() {
        for file in [
            with_whole_blocks(),
            random_model::file(Shape { layers: 2, embedding: 128, kv_heads: 4, ..Shape::default() }),
        ] {
            let Some(device) = device(DEVICE) else { return };
            let tokens: Vec<u32> = (0..120).map(|at| 3 + at * at * 7 % 250).collect();
            let truth = opened(&file, KvFormat::Q8_0).logits(&tokens).expect("logits");
            let mut engine = open_on(&file, device, &options(KvFormat::Q8_0)).expect("the model opens");
            let error = nmse(&truth, &engine.logits(&tokens).expect("logits"));
            println!("NMSE {error:.1e}");
            assert!(error < NMSE_MAX, "NMSE {error:.1e}");
            assert_eq!(engine.stats()["gpu"]["disabledKernels"], json!([]));
            assert_eq!(bytes_of(&engine), bytes_of(&opened(&file, KvFormat::Q8_0)));
        }
    }

    #[test]
    fn a_sequence_moves_between_the_gpu_and_the_cpu() {
        let file = with_whole_blocks();
        let Some(device) = device(DEVICE) else { return };
        let mut on_gpu = open_on(&file, device, &options(KvFormat::Q8_0)).expect("the model opens");
        let mut on_cpu = opened(&file, KvFormat::Q8_0);
        let answer = ask(&mut on_cpu, &file, request(json!({}))).expect("an answer");
        let bytes = saved(&mut on_cpu);
        take_up(&mut on_gpu, &bytes).expect("taken up");
        assert_eq!(saved(&mut on_gpu), bytes);
        let next = ask(&mut on_gpu, &file, request(json!({}))).expect("an answer");
        assert!(next.cached > 5);
        assert_eq!(next.texts, answer.texts);
    }
}
