//! Adapters against models whose weights they were joined to: on one thread, on several, on a GPU, switched by requests.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::lora::{Lora, lora, merged, options};
use support::random_model::{Shape, file};
use support::team::Team;
use support::{Answer, MOMENT, ask, finish, nmse, open, open_all, saved, take_up};
use wasm_chord::engine::{AdapterScale, Engine, OpenOptions, Request};
use wasm_chord::error::ErrorCode;

/// Two ways to the same sums round differently, and keys and values are kept in half precision.
const NMSE_MAX: f64 = 1e-8;

const ALL: [&str; 9] =
    ["token_embd", "output", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

fn shape() -> Shape {
    Shape { layers: 2, ..Shape::default() }
}

/// More than a batch, so that prompts are computed by tiles and one by one.
fn tokens() -> Vec<u32> {
    (0..70).map(|n| 3 + n * 37 % 256).collect()
}

fn logits(engine: &mut Engine) -> Vec<f32> {
    engine.logits(&tokens()).expect("logits")
}

/// The logits of the model with these adapters joined to it.
fn truth(shape: Shape, adapters: &[(&Lora, f32)]) -> Vec<f32> {
    logits(&mut open(&merged(shape, adapters), &OpenOptions::default()).expect("it opens"))
}

/// One that changes all matrices, and one that changes some.
fn pair(shape: Shape) -> [Lora; 2] {
    let endings = if shape.is_tied { [&ALL[..1], &ALL[2..]].concat() } else { ALL.to_vec() };
    [lora(shape, 1, 8.0, 4, &endings), lora(shape, 2, 0.0, 5, &["attn_v", "ffn_up", "ffn_gate"])]
}

fn files(shape: Shape, adapters: &[Lora]) -> Vec<Vec<u8>> {
    [file(shape)].into_iter().chain(adapters.iter().map(Lora::file)).collect()
}

fn request(more: &Value) -> Value {
    let mut body = json!({
        "kind": "completion", "prompt": "a prompt of some length, to be gone on with", "max_tokens": 12, "temperature": 0,
        "logprobs": 1, "ignore_eos": true,
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn answer(engine: &mut Engine, more: Value) -> Answer {
    ask(engine, &[], request(&more)).expect("an answer")
}

#[test]
fn an_adapter_computes_as_the_model_that_it_makes() {
    let [all, some] = pair(shape());
    let base = truth(shape(), &[]);
    let mut engine =
        open_all(&files(shape(), &[all, some]), &options(&[("all", 1.0), ("some", 1.0)])).expect("it opens");
    let [all, some] = pair(shape());
    for (scales, expected) in [
        ([1.0, 0.0], truth(shape(), &[(&all, 1.0)])),
        ([0.0, 0.7], truth(shape(), &[(&some, 0.7)])),
        ([-0.5, 1.5], truth(shape(), &[(&all, -0.5), (&some, 1.5)])),
    ] {
        let named = json!([{"name": "all", "scale": scales[0]}, {"name": "some", "scale": scales[1]}]);
        answer(&mut engine, json!({"adapters": named}));
        let found = logits(&mut engine);
        assert!(nmse(&expected, &found) < NMSE_MAX, "{scales:?}: {}", nmse(&expected, &found));
        assert!(nmse(&base, &found) > 1e-3, "{scales:?}: the adapters change something");
    }
    answer(&mut engine, json!({"adapters": []}));
    assert_eq!(logits(&mut engine), base, "without adapters the model is as it was, to the bit");
}

#[test]
fn an_adapter_of_the_table_leaves_a_head_that_shares_it() {
    let shape = Shape { is_tied: true, ..shape() };
    let [all, some] = pair(shape);
    let expected = truth(shape, &[(&all, 1.0), (&some, 1.0)]);
    let files = files(shape, &[all, some]);
    let found = logits(&mut open_all(&files, &options(&[("all", 1.0), ("some", 1.0)])).expect("it opens"));
    assert!(nmse(&expected, &found) < NMSE_MAX, "{}", nmse(&expected, &found));
    assert!(nmse(&truth(shape, &[]), &found) > 1e-3, "the adapters change something");
}

#[test]
fn several_threads_give_the_same_bits() {
    for is_tied in [false, true] {
        let shape = Shape { is_tied, ..shape() };
        let files = files(shape, &pair(shape));
        let options = options(&[("all", 0.8), ("some", -1.0)]);
        let mut alone = open_all(&files, &options).expect("it opens");
        let expected = logits(&mut alone);
        let others = [json!({}), json!({"adapters": [{"name": "some"}]}), json!({"adapters": []}), json!({})];
        let answers: Vec<Answer> = others.iter().map(|more| answer(&mut alone, more.clone())).collect();
        assert_ne!(answers[0].texts, answers[1].texts);
        for threads in [2, 3, 4] {
            let mut team = Team::open_all(&files, threads, &options).expect("it opens");
            team.supply().expect("it is supplied");
            assert_eq!(team.engine.threads(), threads);
            assert_eq!(team.logits(&tokens()).expect("logits"), expected, "{threads} threads");
            for (more, expected) in others.iter().zip(&answers) {
                let found = team.ask(request(more)).expect("an answer");
                assert_eq!((&found.tokens, &found.texts), (&expected.tokens, &expected.texts), "{threads}, {more}");
            }
        }
    }
}

#[test]
fn requests_switch_and_share_nothing() {
    let files = files(shape(), &pair(shape()));
    let fresh = |scales: [f32; 2]| {
        let options = options(&[("all", scales[0]), ("some", scales[1])]);
        answer(&mut open_all(&files, &options).expect("it opens"), json!({}))
    };
    let mut engine = open_all(&files, &options(&[("all", 1.0), ("some", 0.0)])).expect("it opens");
    let named = json!([{"name": "some", "scale": 2}]);
    let (first, other, none) = (fresh([1.0, 0.0]), fresh([0.0, 2.0]), fresh([0.0, 0.0]));
    assert!(first.texts != other.texts && other.texts != none.texts);
    for (more, expected, is_cached) in [
        (json!({}), &first, false),
        (json!({}), &first, true),
        (json!({"adapters": named}), &other, false),
        (json!({"adapters": [{"name": "all", "scale": 0}, named[0]]}), &other, true),
        (json!({"adapters": []}), &none, false),
        (json!({"adapters": [{"name": "all"}]}), &first, false),
        (json!({}), &first, true),
    ] {
        let found = answer(&mut engine, more.clone());
        assert_eq!((&found.texts, &found.tokens), (&expected.texts, &expected.tokens), "{more}");
        assert_eq!(found.cached > 0, is_cached, "{more}");
    }
}

#[test]
fn choices_that_are_computed_together_are_of_their_request_s_scales() {
    let files = files(shape(), &pair(shape()));
    let several = json!({"n": 3, "temperature": 1.3, "seed": 4});
    let others = [json!([{"name": "all"}]), json!([]), json!([{"name": "some", "scale": 2}]), json!([{"name": "all"}])];
    let bodies = others.map(|named| {
        let mut body = several.clone();
        body["adapters"] = named;
        body
    });
    let options = options(&[("all", 1.0), ("some", 0.0)]);
    let mut together = open_all(&files, &OpenOptions { max_sequences: Some(3), ..options.clone() }).expect("it opens");
    for body in bodies {
        let alone = answer(&mut open_all(&files, &options).expect("it opens"), body.clone());
        let found = answer(&mut together, body.clone());
        assert_eq!((&found.tokens, &found.texts), (&alone.tokens, &alone.texts), "{body}");
    }
    assert!(together.stats()["sequences"]["tokens"].as_u64() > Some(60), "they were computed together");
}

#[test]
fn a_saved_sequence_is_of_its_adapters() {
    let files = files(shape(), &pair(shape()));
    let open_with =
        |scales: [f32; 2]| open_all(&files, &options(&[("all", scales[0]), ("some", scales[1])])).expect("it opens");
    let mut engine = open_with([1.0, 0.0]);
    let first = answer(&mut engine, json!({}));
    let adapted = saved(&mut engine);
    let base = {
        answer(&mut engine, json!({"adapters": []}));
        saved(&mut engine)
    };
    for (bytes, more) in [(&adapted, json!({})), (&base, json!({"adapters": []}))] {
        // Whatever was computed before: the sequence brings its own scales.
        for before in [json!({}), json!({"adapters": []})] {
            let mut engine = open_with([1.0, 0.0]);
            answer(&mut engine, before);
            take_up(&mut engine, bytes).expect("it is taken up");
            assert!(answer(&mut engine, more.clone()).cached > 0);
        }
    }
    take_up(&mut engine, &adapted).expect("it is taken up");
    assert_eq!(answer(&mut engine, json!({})).tokens, first.tokens);
    // Without an adapter it is the model's own, whether there are adapters or not.
    take_up(&mut open(&files[0], &OpenOptions::default()).expect("it opens"), &base).expect("it is taken up");
    // One that a request's scales had a part in is found by that request, whatever the engine is opened with.
    let asked = json!({"adapters": [{"name": "all", "scale": 0.7}, {"name": "some", "scale": -0.2}]});
    let second = answer(&mut engine, asked.clone());
    let mixed = saved(&mut engine);
    for scales in [[1.0, 0.0], [0.5, 0.3], [0.7, -0.2]] {
        let mut engine = open_with(scales);
        take_up(&mut engine, &mixed).expect("it is taken up");
        let found = answer(&mut engine, asked.clone());
        assert!(found.cached > 0 && found.tokens == second.tokens, "{scales:?}");
        assert_eq!(answer(&mut engine, json!({"adapters": [{"name": "all"}]})).cached, 0, "of other scales it is none");
    }
    // Others change nothing where they have no part in it.
    let [all, some] = [&files[1], &files[2]];
    let third = lora(shape(), 3, 8.0, 4, &["attn_q"]).file();
    let more = [files[0].clone(), third.clone(), all.clone(), some.clone()];
    let mut engine = open_all(&more, &options(&[("third", 0.0), ("all", 1.0), ("some", 1.0)])).expect("it opens");
    take_up(&mut engine, &mixed).expect("it is taken up");
    assert!(answer(&mut engine, asked).cached > 0);
    for (files, named) in [
        (vec![files[0].clone()], vec![]),
        (vec![files[0].clone(), all.clone()], vec![("all", 1.0)]),
        (vec![files[0].clone(), all.clone(), third], vec![("all", 0.7), ("some", -0.2)]),
    ] {
        let mut engine = open_all(&files, &options(&named)).expect("it opens");
        let error = take_up(&mut engine, &mixed).expect_err("refused");
        assert_eq!((error.code, &error.details["reason"]), (ErrorCode::InvalidState, &json!("model")), "{named:?}");
    }
}

/// Begins a request as the owner of an engine does who keeps sequences: what was exchanged, and how much was cached.
fn exchanged(engine: &mut Engine, kept: &mut BTreeMap<u32, Vec<u8>>, more: Value) -> (bool, bool, Answer) {
    let body = request(&more).to_string();
    let exchange = engine.prepare(Request::from_json(&body).expect("a request"), MOMENT).expect("prepared");
    if exchange.keeps {
        let bytes = saved(engine);
        let (number, gone) = engine.shelve();
        gone.iter().for_each(|number| drop(kept.remove(number)));
        kept.insert(number, bytes);
    }
    if let Some(number) = exchange.takes {
        take_up(engine, &kept[&number]).expect("taken up");
    }
    engine.start().expect("started");
    (exchange.keeps, exchange.takes.is_some(), finish(engine, &[], |_, _| {}).expect("an answer"))
}

#[test]
fn what_was_computed_with_other_adapters_is_kept_for_them() {
    let files = files(shape(), &pair(shape()));
    let mut engine = open_all(&files, &options(&[("all", 1.0), ("some", 0.0)])).expect("it opens");
    let others = [json!({}), json!({"adapters": [{"name": "some", "scale": 2}]}), json!({"adapters": []})];
    let mut kept = BTreeMap::new();
    let first = others.each_ref().map(|more| exchanged(&mut engine, &mut kept, more.clone()));
    assert_eq!(
        first.each_ref().map(|(keeps, takes, found)| (*keeps, *takes, found.cached)),
        [(false, false, 0), (true, false, 0), (true, false, 0)]
    );
    for (more, (.., expected)) in others.iter().zip(&first) {
        let (_, takes, found) = exchanged(&mut engine, &mut kept, more.clone());
        assert!(takes && found.cached > 0, "{more}");
        assert_eq!(found.tokens, expected.tokens, "{more}");
    }
}

#[test]
fn weights_are_not_copied() {
    let files = files(shape(), &pair(shape()));
    let resident = |files: &[Vec<u8>], options: &OpenOptions| {
        let stats = open_all(files, options).expect("it opens").stats();
        stats["memory"]["residentBytes"].as_u64().expect("bytes")
    };
    let base = resident(&files[..1], &OpenOptions::default());
    let adapted = resident(&files, &options(&[("all", 1.0), ("some", 1.0)]));
    let factors: usize = files[1..].iter().map(Vec::len).sum();
    // Factors, the gaps between them, and what is between the factors of a batch.
    assert!(
        adapted > base && adapted - base < 2 * factors as u64 + 32_768,
        "{base} and {adapted}, {factors} of adapters"
    );
}

#[test]
fn layers_that_pass_through_memory_bring_their_factors() {
    let shape = Shape { layers: 6, ..Shape::default() };
    let [all, _] = pair(shape);
    let files = files(shape, &[lora(shape, 1, 8.0, 4, &ALL)]);
    let named = options(&[("all", 1.0)]);
    let least = open_all(&files, &OpenOptions { max_resident_bytes: Some(1), ..named.clone() }).err().expect("refused");
    let least = least.details["need"].as_u64().expect("what it needs");
    let expected =
        answer(&mut open(&merged(shape, &[(&all, 1.0)]), &OpenOptions::default()).expect("it opens"), json!({}));
    for from_disk in [false, true] {
        let options = OpenOptions { max_resident_bytes: Some(least), from_disk, ..named.clone() };
        let mut engine = open_all(&files, &options).expect("it opens");
        engine
            .begin(
                wasm_chord::engine::Request::from_json(&request(&json!({})).to_string()).expect("a request"),
                support::MOMENT,
            )
            .expect("it begins");
        let mut text = String::new();
        loop {
            match engine.step().expect("a step") {
                wasm_chord::engine::Event::Wait { .. } => support::supply_all(&mut engine, &files).expect("supplied"),
                wasm_chord::engine::Event::Token { text: more, .. }
                | wasm_chord::engine::Event::Finish { text: more, .. } => {
                    text += &more;
                }
                wasm_chord::engine::Event::Done { .. } => break,
                _ => {}
            }
        }
        assert_eq!(text, expected.texts[0], "from disk: {from_disk}");
    }
}

/// The error of opening the model with this file as adapter `it`.
fn refused(adapter: Vec<u8>) -> wasm_chord::ChordError {
    open_all(&[file(shape()), adapter], &options(&[("it", 1.0)])).err().expect("refused")
}

#[test]
fn what_does_not_fit_is_named() {
    let fitting = || lora(shape(), 1, 8.0, 4, &["attn_q"]);
    let zeros = |name: &str, shape: &[u64]| (name.to_string(), shape.to_vec());
    let mut other = lora(Shape { embedding: 96, ..shape() }, 1, 8.0, 4, &["ffn_down"]);
    other.changes.truncate(1);
    let error = refused(other.file());
    assert_eq!(error.code, ErrorCode::InvalidModel);
    assert_eq!(error.details["tensor"], "blk.0.ffn_down.weight.lora_b");
    assert_eq!(error.details["adapter"], "it");
    for (tensors, named) in [
        (vec![zeros("blk.0.attn_q.weight.lora_a", &[64, 4])], "blk.0.attn_q.weight.lora_a"),
        (vec![zeros("blk.0.attn_q.weight.lora_b", &[4, 64])], "blk.0.attn_q.weight.lora_b"),
        (
            vec![zeros("blk.0.attn_q.weight.lora_a", &[64, 4]), zeros("blk.0.attn_q.weight.lora_b", &[5, 64])],
            "blk.0.attn_q.weight.lora_b",
        ),
        (
            vec![zeros("blk.9.attn_q.weight.lora_a", &[64, 4]), zeros("blk.9.attn_q.weight.lora_b", &[4, 64])],
            "blk.9.attn_q.weight.lora_a",
        ),
        (
            vec![zeros("output_norm.weight.lora_a", &[64, 4]), zeros("output_norm.weight.lora_b", &[4, 1])],
            "output_norm.weight.lora_a",
        ),
        (vec![zeros("blk.0.attn_q.weight", &[64, 64])], "blk.0.attn_q.weight"),
    ] {
        let empty = Lora { changes: Vec::new(), ..fitting() }.writer();
        let with =
            tensors.iter().fold(empty, |file, (name, shape)| file.zeros(name, shape, wasm_chord::quant::Dtype::F32));
        let error = refused(with.file());
        assert_eq!((error.code, &error.details["tensor"]), (ErrorCode::InvalidModel, &json!(named)), "{error}");
    }
    for (key, value) in
        [("general.type", "model"), ("adapter.type", "other"), ("general.architecture", "qwen2"), ("split.count", "x")]
    {
        let error = refused(fitting().writer().without(key).pair(key, value).file());
        assert_eq!(error.code, ErrorCode::InvalidModel, "{error}");
        assert!(error.message.contains(key) || error.message.contains(value), "{error}");
    }
    let tokens = wasm_chord::gguf::Value::Array(wasm_chord::gguf::Array::U32(vec![1, 2]));
    let error = refused(fitting().writer().pair("adapter.alora.invocation_tokens", tokens).file());
    assert!(error.message.contains("adapter.alora.invocation_tokens"), "{error}");
    assert!(open_all(&[file(shape()), fitting().file()], &options(&[("it", 1.0)])).is_ok());
}

#[test]
fn what_requests_and_options_cannot_say_is_refused() {
    let files = files(shape(), &pair(shape()));
    let mut engine = open_all(&files, &options(&[("all", 1.0), ("some", 1.0)])).expect("it opens");
    for adapters in [
        json!([{"name": "other"}]),
        json!([{"name": "all"}, {"name": "all"}]),
        json!([{"scale": 1}]),
        json!([{"name": "all", "scale": "much"}]),
        json!([{"name": "all", "scales": 1}]),
        json!({"all": 1}),
        json!("all"),
        json!([{"name": "all", "scale": 1e60}]),
    ] {
        let error = ask(&mut engine, &[], request(&json!({"adapters": adapters}))).expect_err("refused");
        assert_eq!(
            (error.code, &error.details["name"]),
            (ErrorCode::InvalidParameter, &json!("adapters")),
            "{adapters}"
        );
    }
    let twice = OpenOptions {
        adapters: ["all", "all"].map(|name| AdapterScale { name: name.into(), scale: None }).to_vec(),
        ..OpenOptions::default()
    };
    assert_eq!(open_all(&files, &twice).err().expect("refused").code, ErrorCode::InvalidParameter);
    answer(&mut engine, json!({}));
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_computes_the_same() {
    use support::gpu::{DEVICE, device, open_all_on};
    for is_tied in [false, true] {
        let shape = Shape { is_tied, ..shape() };
        let files = files(shape, &pair(shape));
        let options = options(&[("all", 0.8), ("some", -1.0)]);
        let Some(device) = device(DEVICE) else { return };
        let mut gpu = open_all_on(&files, device, &options).expect("it opens");
        let mut cpu = open_all(&files, &options).expect("it opens");
        for more in [json!({}), json!({"adapters": [{"name": "some"}]}), json!({"adapters": []}), json!({})] {
            let (expected, found) = (answer(&mut cpu, more.clone()), answer(&mut gpu, more.clone()));
            assert_eq!((&expected.texts, expected.cached), (&found.texts, found.cached), "{more}");
            let (expected, found) = (logits(&mut cpu), logits(&mut gpu));
            assert!(nmse(&expected, &found) < support::gpu::NMSE_MAX, "{more}: {}", nmse(&expected, &found));
        }
        assert!(gpu.gpu().is_some(), "the GPU was not left");
    }
}
