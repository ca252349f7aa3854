//! The GPU backend against the scalar truth, natively, on whatever adapter there is.
#![cfg(feature = "gpu")]

mod support;

use serde_json::json;
use support::gpu::{CHANGE, Change, DEVICE, NMSE_MAX, device, open_on, tamper};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, Event, HeaderReader, OpenOptions, Request};
use wasm_chord::gpu::shaders::Arithmetic;
use wasm_chord::gpu::{DeviceOptions, PRODUCTS_MAX};

/// The logits of one model at every position, against the reference.
fn check(model: &std::path::Path, options: &DeviceOptions) -> Result<(), String> {
    let Some(device) = device(options.clone()) else { return Ok(()) };
    let (json, truth) = expected(model);
    let file = std::fs::read(model).expect("reference model");
    let mut engine =
        open_on(&file, device, &OpenOptions::default()).map_err(|e| format!("{}: {e}", model.display()))?;
    let logits = engine.logits(&ids(&json["tokens"])).map_err(|e| format!("{}: {e}", model.display()))?;
    let error = nmse(&truth, &logits);
    println!("{:30} NMSE {error:.2e}", model.file_name().unwrap_or_default().to_string_lossy());
    if error <= NMSE_MAX { Ok(()) } else { Err(format!("{}: NMSE {error:.3e}", model.display())) }
}

fn check_all(folder: &str, names: &[&str], options: &DeviceOptions) {
    let Some(data) = reference_data() else { return };
    let models = names.iter().map(|name| data.join(format!("{folder}/{name}.gguf")));
    let failures: Vec<String> = models.filter_map(|model| check(&model, options).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn architectures() {
    check_all("arch", &["llama", "llama-moe", "qwen2", "qwen3", "gemma3", "phi3"], &DEVICE);
}

#[test]
fn formats() {
    let Some(data) = reference_data() else { return };
    let names = support::formats_with_reference(&data);
    check_all("quant", &names.iter().map(String::as_str).collect::<Vec<_>>(), &DEVICE);
}

#[test]
fn greedy_text_of_a_trained_model() {
    check_all("real", &["stories260k"], &DEVICE);
    let Some(data) = reference_data() else { return };
    let Some(device) = device(DEVICE) else { return };
    let model = data.join("real/stories260k.gguf");
    let (json, _) = expected(&model);
    let file = std::fs::read(model).expect("reference model");
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let body = json!({"kind": "completion", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 120, "ignore_eos": true});
    let answer = ask(&mut engine, &file, body).expect("an answer");
    assert_eq!(answer.texts, [json["greedy_text"].as_str().expect("the text")]);
    println!("{}", engine.stats()["gpu"]);
}

fn greedy(extra: serde_json::Value) -> serde_json::Value {
    let mut body = json!({"kind": "completion", "prompt": "A prompt of some length", "temperature": 0, "max_tokens": 24, "ignore_eos": true});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// A reader that has a file's header.
fn reader(file: &[u8]) -> HeaderReader {
    let mut reader = HeaderReader::new(Some(file.len() as u64));
    assert!(reader.feed(file).expect("a header"));
    reader
}

/// What the CPU answers.
fn truth(file: &[u8], body: serde_json::Value) -> Answer {
    ask(&mut open(file, &OpenOptions::default()).expect("the model opens"), file, body).expect("an answer")
}

fn stat(engine: &Engine, group: &str, name: &str) -> u64 {
    engine.stats()[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name}"))
}

#[test]
fn a_token_is_one_submit_and_sixteen_bytes_and_makes_nothing() {
    let Some(device) = device(DEVICE) else { return };
    let file = random_model::file(Shape::default());
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let names = ["submits", "readbackBytes", "buffers", "bindGroups"];
    for (sampling, most) in [(json!({}), 16), (json!({"temperature": 0.9, "top_k": 40, "top_p": 0.9, "seed": 3}), 16)] {
        let mut seen: Vec<[u64; 4]> = Vec::new();
        let answer = ask_with(&mut engine, &file, greedy(sampling), |engine, event| {
            if matches!(event, Event::Token { .. }) {
                seen.push(names.map(|name| stat(engine, "gpu", name)));
            }
        });
        answer.expect("an answer");
        let (first, last, tokens) = (seen[0], seen[seen.len() - 1], seen.len() as u64 - 1);
        let [submits, readback, buffers, bind_groups] = std::array::from_fn(|i| last[i] - first[i]);
        assert!(tokens > 20, "{tokens}");
        // A pass is sent before the token ahead of it is read, so that at either end one more or one less was sent.
        assert!(submits.abs_diff(tokens) <= 1, "{submits} submits for {tokens} tokens");
        assert_eq!([readback, buffers, bind_groups], [most * submits, 0, 0], "{names:?}");
    }
    // norm + qkv; rope and cache; attention; output; gate and up; down; and one more where attention is split.
    assert_eq!(stat(&engine, "gpu", "dispatchesPerLayer"), 6);
}

#[test]
fn the_next_token_is_computed_while_one_is_read_and_tokens_stay_the_same() {
    let Some(device) = device(DEVICE) else { return };
    let file = random_model::file(Shape::default());
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let drawn = json!({"temperature": 1.2, "top_k": 30, "seed": 4});
    let whole = truth(&file, greedy(drawn.clone())).texts.remove(0);
    // What comes in the middle of the answer, as a string to stop at.
    let stop: String = whole.chars().skip(whole.chars().count() / 2).take(2).collect();
    let ahead = |engine: &Engine| stat(engine, "gpu", "passesAhead");
    for extra in [json!({}), json!({"stop": stop}), json!({"max_tokens": 1}), json!({"max_tokens": 2}), json!({"n": 2})]
    {
        let mut body = greedy(drawn.clone());
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let before = ahead(&engine);
        let answer = ask(&mut engine, &file, body.clone()).expect("an answer");
        assert_eq!(answer.texts, truth(&file, body).texts, "{extra}");
        let sent = ahead(&engine) - before;
        match extra["max_tokens"].as_u64() {
            Some(1) => assert_eq!(sent, 0, "nothing is sent that cannot be wanted"),
            Some(_) => assert!(sent <= 1),
            // A device that is done at once leaves nothing to overlap.
            None => assert!(sent > 6, "{sent} passes ahead, {extra}"),
        }
    }
    // Up to the last token that the context has room for.
    let body = greedy(json!({"max_tokens": null, "temperature": 0}));
    assert_eq!(ask(&mut engine, &file, body.clone()).expect("an answer").texts, truth(&file, body).texts);
    // Cancelled in any state of the pipeline, the engine answers the next request as ever.
    for steps in [3, 9, 10, 11] {
        engine
            .begin(Request::from_json(&greedy(drawn.clone()).to_string()).expect("a request"), MOMENT)
            .expect("begins");
        for _ in 0..steps {
            if matches!(engine.step().expect("a step"), Event::Device) && steps % 2 == 0 {
                engine.wait();
            }
        }
        engine.cancel();
        let body = greedy(drawn.clone());
        assert_eq!(ask(&mut engine, &file, body.clone()).expect("an answer").texts, truth(&file, body).texts);
    }
}

#[test]
fn attention_that_is_split_costs_one_dispatch_more_and_gives_the_same_tokens() {
    let Some(device) = device(DEVICE) else { return };
    let file = random_model::file(Shape { context: 1024, layers: 2, ..Shape::default() });
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let body = greedy(json!({"prompt": "long ".repeat(150), "max_tokens": 40}));
    let answer = ask(&mut engine, &file, body.clone()).expect("an answer");
    assert_eq!(answer.texts, truth(&file, body).texts);
    assert_eq!(stat(&engine, "gpu", "dispatchesPerLayer"), 7);
}

#[test]
fn a_prompt_is_computed_in_batches_and_not_token_by_token() {
    let Some(device) = device(DEVICE) else { return };
    let file = random_model::file(Shape { context: 512, ..Shape::default() });
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    // The self-test submits as well.
    ask(&mut engine, &file, greedy(json!({"prompt": "x", "max_tokens": 1}))).expect("an answer");
    let before = stat(&engine, "gpu", "submits");
    ask(&mut engine, &file, greedy(json!({"prompt": vec![5; 300], "max_tokens": 1}))).expect("an answer");
    // Three batches through each of the groups but the head, and the head once.
    assert_eq!(stat(&engine, "gpu", "submits") - before, 3 * 7 + 1);
}

/// A prompt of so many tokens, that begins with its length.
fn prompt(tokens: usize) -> Vec<u32> {
    (0..tokens).map(|at| ((tokens + at * 7 + at / 5) % 100) as u32).collect()
}

#[test]
fn prompts_of_any_length_agree_with_the_cpu_whole_and_through_the_ring() {
    let file = random_model::file(Shape { context: 512, ..Shape::default() });
    let mut cpu = open(&file, &OpenOptions::default()).expect("the model opens");
    let Some(first) = device(DEVICE) else { return };
    let mut whole = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let budget = stat(&whole, "memory", "budgetBytes") - file.len() as u64 / 3;
    let ceiling = OpenOptions { max_resident_bytes: Some(budget), ..OpenOptions::default() };
    let second = device(DEVICE).expect("there was one before");
    let mut ring = open_on(&file, second, &ceiling).expect("the model opens under a ceiling");
    // Batches are of 128 tokens: the last one of a prompt may be of one.
    for length in [1, 2, 127, 128, 129, 130, 256, 257, 258] {
        let tokens = prompt(length);
        let body = greedy(json!({"prompt": tokens, "max_tokens": 6}));
        let expected = ask(&mut cpu, &file, body.clone()).expect("an answer").texts;
        assert_eq!(ask(&mut whole, &file, body.clone()).expect("an answer").texts, expected, "{length} tokens");
        assert_eq!(ask(&mut ring, &file, body).expect("an answer").texts, expected, "{length} tokens, in the ring");
        let truth = cpu.logits(&tokens).expect("logits");
        let error = nmse(&truth, &whole.logits(&tokens).expect("logits"));
        assert!(error < NMSE_MAX, "{length} tokens: NMSE {error:.2e}");
    }
    // The same where a part of the prompt is in the cache already.
    let tokens = prompt(40 + 257);
    for end in [40, 40 + 129, tokens.len()] {
        let body = greedy(json!({"prompt": tokens[..end], "max_tokens": 1}));
        let expected = ask(&mut cpu, &file, body.clone()).expect("an answer");
        assert_eq!(ask(&mut whole, &file, body).expect("an answer"), expected, "{end} tokens");
    }
}

#[test]
fn requests_of_every_kind_agree_with_the_cpu() {
    let Some(device) = device(DEVICE) else { return };
    let file = random_model::file(Shape::default());
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    for body in [
        greedy(json!({"logprobs": 2})),
        greedy(json!({"n": 2})),
        greedy(json!({"logit_bias": {"70": 20}, "repeat_penalty": 1.3})),
        greedy(json!({"temperature": 0.8, "top_k": 1})),
        greedy(json!({"temperature": 1.2, "top_k": 0, "seed": 5})),
        greedy(json!({"temperature": 1.2, "top_k": 20, "seed": 5})),
        greedy(json!({"temperature": 0.5, "top_k": 64, "top_p": 0.7, "min_p": 0.02, "seed": 9})),
        greedy(json!({"temperature": 1.5, "top_k": 8, "n": 3, "seed": 11})),
    ] {
        let answer = ask(&mut engine, &file, body.clone()).expect("an answer");
        let expected = truth(&file, body.clone());
        assert_eq!((answer.texts, answer.tokens), (expected.texts, expected.tokens), "{body}");
    }
    let body = json!({"kind": "embedding", "input": "a text"});
    let (a, b) = (ask(&mut engine, &file, body.clone()).expect("an embedding").embedding, truth(&file, body).embedding);
    assert!(nmse(&b, &a) < NMSE_MAX);
}

#[test]
fn layers_move_through_the_ring_and_tokens_stay_the_same() {
    let file = random_model::file(Shape { layers: 12, ..Shape::default() });
    let Some(first) = device(DEVICE) else { return };
    let mut whole = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let expected = ask(&mut whole, &file, greedy(json!({}))).expect("an answer");
    let most = stat(&whole, "memory", "peakResidentBytes");
    for (percent, distance) in [(75, None), (50, None), (50, Some(0))] {
        let budget = most - file.len() as u64 * (100 - percent) / 100;
        let options = OpenOptions { prefetch_distance: distance, ..OpenOptions::default() };
        let options = OpenOptions { max_resident_bytes: Some(budget), ..options };
        let device = device(DEVICE).expect("there was one before");
        let mut engine = open_on(&file, device, &options).expect("the model opens under a ceiling");
        assert_eq!(ask(&mut engine, &file, greedy(json!({}))).expect("an answer"), expected, "at {percent} %");
        assert!(stat(&engine, "layers", "evictions") > 50);
        let peak = stat(&engine, "memory", "peakResidentBytes");
        assert!(peak <= budget, "{peak} of {budget} at {percent} %: {}", engine.stats());
        // Ring groups share buffers, and their bind groups are kept.
        let made = |engine: &Engine| (stat(engine, "gpu", "buffers"), stat(engine, "gpu", "bindGroups"));
        let before = made(&engine);
        assert_eq!(ask(&mut engine, &file, greedy(json!({}))).expect("an answer").texts, expected.texts);
        assert_eq!(made(&engine), before, "nothing is made once every layer has been in every slot");
    }
}

#[test]
fn pieces_may_come_in_any_order_and_of_any_size() {
    let Some(data) = reference_data() else { return };
    for name in ["q4_0", "q6_k", "q3_k", "mxfp4", "f16"] {
        let Some(device) = device(DEVICE) else { return };
        let file = std::fs::read(data.join(format!("quant/{name}.gguf"))).expect("reference model");
        let (json, truth) = expected(&data.join(format!("quant/{name}.gguf")));
        let mut engine = reader(&file).open_on(device, &OpenOptions::default()).expect("the model opens");
        while engine.want().expect("room").is_some() {}
        for size in [7_001usize, 13_007] {
            let mut starts: Vec<usize> = (0..file.len()).step_by(size).collect();
            starts.reverse();
            for start in starts {
                let piece = &file[start..file.len().min(start + size)];
                supply_piece(&mut engine, start as u64, piece);
            }
        }
        let logits = engine.logits(&ids(&json["tokens"])).expect("logits");
        assert!(nmse(&truth, &logits) < NMSE_MAX, "{name}");
    }
}

#[test]
fn fault_14_damaged_weights_are_an_error_that_names_the_layer() {
    for value in [f32::NAN, f32::INFINITY] {
        let Some(device) = device(DEVICE) else { return };
        let file = random_model::writer(Shape::default(), |name, data| {
            if name == "blk.3.ffn_down.weight" {
                data[..4].copy_from_slice(&value.to_le_bytes());
            }
        })
        .file();
        let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
        let error = ask(&mut engine, &file, greedy(json!({}))).expect_err("damaged");
        assert_eq!(error.code, ErrorCode::NonFinite);
        assert_eq!(error.details["layer"], 3, "{error}");
    }
}

/// Loses the device at the event of that number, and once more if `twice`: then the CPU goes on.
fn lose(at: usize, twice: bool) {
    let Some(first) = device(DEVICE) else { return };
    let file = random_model::file(Shape { context: 512, ..Shape::default() });
    // Drawn, so that each token has a random number that must not be taken twice.
    let drawn = json!({"prompt": "A prompt of some length. ".repeat(8), "temperature": 1.1, "top_k": 20, "seed": 8});
    let body = greedy(drawn);
    let expected = truth(&file, body.clone());
    let mut engine = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    if at == 0 {
        engine.gpu().expect("a GPU").device().destroy();
    }
    let (mut events, mut losses) = (0, 0);
    let answer = ask_with(&mut engine, &file, body, |engine, event| {
        if matches!(event, Event::Lost) {
            losses += 1;
            match losses {
                1 => engine.attach(device(DEVICE).expect("there was one before")).expect("attaches"),
                _ => engine.attach_cpu().expect("the CPU has room"),
            }
        }
        events += 1;
        if events == at || (twice && losses == 1 && events > at + 12) {
            engine.gpu().expect("a GPU").device().destroy();
        }
    });
    assert_eq!(answer.expect("an answer").texts, expected.texts, "lost at event {at}");
    assert_eq!((losses, engine.gpu().is_some()), if twice { (2, false) } else { (1, true) }, "lost at event {at}");
}

#[test]
fn fault_43_a_lost_device_is_replaced_and_the_same_tokens_go_on() {
    // In loading, in the prompt, and after some tokens.
    [0, 3, 20, 31].into_iter().for_each(|at| lose(at, false));
}

#[test]
fn fault_43_ranges_that_were_on_their_way_to_a_lost_device_take_no_room_on_the_next() {
    let file = random_model::file(Shape { layers: 12, ..Shape::default() });
    let expected = truth(&file, greedy(json!({}))).texts;
    let Some(first) = device(DEVICE) else { return };
    let plan = reader(&file).plan_on(&first, &OpenOptions::default()).expect("a plan");
    let budget = plan["memory"]["budgetBytes"].as_u64().expect("bytes") - file.len() as u64 / 2;
    let options = OpenOptions { max_resident_bytes: Some(budget), ..OpenOptions::default() };
    let mut engine = reader(&file).open_on(first, &options).expect("opens");
    let (mut on_their_way, mut losses) = (Vec::new(), 0);
    let answer = ask_with(&mut engine, &file, greedy(json!({})), |engine, event| match event {
        Event::Wait { group: 8.. } if losses == 0 && on_their_way.is_empty() => {
            while let Some(range) = engine.want().expect("room") {
                on_their_way.push(range);
            }
            // One comes in part before the device goes, and one afterwards.
            let range = &on_their_way[0];
            supply_piece(engine, range.offset, &file[range.offset as usize..][..range.length as usize / 2]);
            engine.gpu().expect("a GPU").device().destroy();
        }
        Event::Lost => {
            losses += 1;
            engine.attach(device(DEVICE).expect("there was one before")).expect("attaches");
            on_their_way.drain(1..).for_each(|range| engine.refetch(range));
            let range = &on_their_way[0];
            let (half, end) = (range.offset + range.length / 2, range.offset + range.length);
            supply_piece(engine, half, &file[half as usize..end as usize]);
        }
        _ => {}
    });
    assert_eq!(answer.expect("an answer").texts, expected);
    assert_eq!(losses, 1);
    let peak = stat(&engine, "memory", "peakResidentBytes");
    assert!(peak <= budget, "{peak} of {budget}");
}

#[test]
fn fault_44_after_a_second_loss_the_cpu_goes_on() {
    [0, 20].into_iter().for_each(|at| lose(at, true));
}

#[test]
fn fault_45_small_buffers_cut_matrices_into_slabs_and_too_small_ones_leave_it_to_the_cpu() {
    let Some(data) = reference_data() else { return };
    for (name, most) in [("q4_0", 120_000), ("f32", 140_000), ("q6_k", 120_000)] {
        let options = DeviceOptions { buffer_bytes_max: Some(most), ..DEVICE };
        // The arena is one buffer, so the context must be small too.
        let Some(device) = device(options) else { return };
        let path = data.join(format!("quant/{name}.gguf"));
        let (json, truth) = expected(&path);
        let file = std::fs::read(path).expect("reference model");
        let options = OpenOptions { context_length: Some(8), ..OpenOptions::default() };
        let mut engine = open_on(&file, device, &options).expect("the model opens");
        let logits = engine.logits(&ids(&json["tokens"])[..8]).expect("logits");
        assert!(engine.gpu().is_some(), "{name}");
        assert!(nmse(&truth[..logits.len()], &logits) < NMSE_MAX, "{name}");
    }
    let Some(device) = device(DeviceOptions { buffer_bytes_max: Some(20_000), ..DEVICE }) else { return };
    let file = random_model::file(Shape::default());
    let mut engine = reader(&file).open_on(device, &OpenOptions::default()).expect("opens on the CPU");
    assert!(engine.gpu().is_none());
    supply(&mut engine, &file).expect("supplied");
    assert_eq!(
        ask(&mut engine, &file, greedy(json!({}))).expect("an answer").texts,
        truth(&file, greedy(json!({}))).texts
    );
}

#[test]
fn fault_45_where_memory_ends_fewer_layers_are_on_the_gpu_and_tokens_stay_the_same() {
    let file =
        random_model::file(Shape { layers: 6, context: 256, embedding: 256, feed_forward: 256, ..Shape::default() });
    let stored = OpenOptions { from_disk: true, ..OpenOptions::default() };
    let body = greedy(json!({"prompt": prompt(140), "max_tokens": 8}));
    let expected = truth(&file, body.clone()).texts;
    let Some(first) = device(DEVICE) else { return };
    let mut loaded = open_on(&file, first, &stored).expect("the model opens");
    ask(&mut loaded, &file, greedy(json!({"max_tokens": 1}))).expect("an answer");
    let whole = loaded.gpu().expect("a GPU").device().held_bytes();
    let few = whole - file.len() as u64 / 4;
    // The last layers do not fit; more of them; all do, but not what a long prompt takes; not even the cache.
    for (memory, on_gpu) in [(whole - 100_000, true), (few, true), (whole + 1000, true), (100_000, false)] {
        let options = DeviceOptions { memory_bytes_max: Some(memory), ..DEVICE };
        let mut engine = reader(&file).open_on(device(options).expect("a device"), &stored).expect("opens");
        engine.set_disk(disk(file.clone()));
        supply(&mut engine, &file).expect("supplied");
        assert_eq!(ask(&mut engine, &file, body.clone()).expect("an answer").texts, expected, "{memory} bytes");
        assert_eq!(engine.gpu().is_some(), on_gpu, "{memory} bytes: {}", engine.stats());
        if let Some(gpu) = engine.gpu() {
            assert!(gpu.device().held_bytes() <= memory);
            assert!(stat(&engine, "layers", "pinned") < 6 && stat(&engine, "layers", "evictions") > 0);
        }
    }
    // What would come from a network again for every token is left to the CPU.
    let options = DeviceOptions { memory_bytes_max: Some(few), ..DEVICE };
    let mut engine = reader(&file).open_on(device(options).expect("a device"), &OpenOptions::default()).expect("opens");
    supply(&mut engine, &file).expect("supplied");
    assert_eq!(ask(&mut engine, &file, body).expect("an answer").texts, expected);
    assert_eq!(engine.stats()["device"], "cpu");
}

#[test]
fn the_default_ceiling_is_half_of_the_memory_where_layers_are_on_disk() {
    let file = random_model::file(Shape { layers: 12, ..Shape::default() });
    let expected = truth(&file, greedy(json!({}))).texts;
    let Some(first) = device(DEVICE) else { return };
    let whole = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let most = stat(&whole, "memory", "budgetBytes");
    for (from_disk, budget) in [(true, most - 300_000), (false, most)] {
        let device_bytes = Some(2 * (most - 300_000));
        let options = OpenOptions { from_disk, device_bytes, ..OpenOptions::default() };
        let mut engine = open_on(&file, device(DEVICE).expect("a device"), &options).expect("the model opens");
        assert_eq!(ask(&mut engine, &file, greedy(json!({}))).expect("an answer").texts, expected);
        assert_eq!(stat(&engine, "memory", "budgetBytes"), budget);
        assert!(stat(&engine, "memory", "peakResidentBytes") <= budget);
    }
}

#[test]
fn fault_49_products_that_would_take_long_are_several_dispatches() {
    let file = random_model::file(Shape { layers: 2, embedding: 256, feed_forward: 1024, ..Shape::default() });
    let mut found = Vec::new();
    for products_max in [PRODUCTS_MAX, 40_000] {
        let Some(device) = device(DeviceOptions { products_max, ..DEVICE }) else { return };
        let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
        let answer = ask(&mut engine, &file, greedy(json!({}))).expect("an answer");
        found.push((stat(&engine, "gpu", "dispatchesPerToken"), answer.texts));
    }
    assert!(2 * found[1].0 > 3 * found[0].0, "{} and {} dispatches", found[0].0, found[1].0);
    assert_eq!(found[0].1, found[1].1);
}

#[test]
fn fault_49_attention_over_many_positions_is_several_dispatches_with_the_same_results() {
    let file = random_model::file(Shape { layers: 2, context: 512, ..Shape::default() });
    let tokens = prompt(300);
    let truth = open(&file, &OpenOptions::default()).and_then(|mut cpu| cpu.logits(&tokens)).expect("logits");
    let mut dispatches = Vec::new();
    // All, a few and single tiles in a dispatch, those of a single head.
    for products_max in [20_000_000, 3_000_000, 700_000] {
        let Some(device) = device(DeviceOptions { products_max, ..DEVICE }) else { return };
        let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
        ask(&mut engine, &file, greedy(json!({"max_tokens": 1}))).expect("an answer");
        let before = stat(&engine, "gpu", "dispatches");
        ask(&mut engine, &file, greedy(json!({"prompt": tokens, "max_tokens": 1}))).expect("an answer");
        dispatches.push(stat(&engine, "gpu", "dispatches") - before);
        let error = nmse(&truth, &engine.logits(&tokens).expect("logits"));
        assert!(error < NMSE_MAX, "NMSE {error:.2e}");
        assert_eq!(engine.stats()["gpu"]["disabledKernels"], json!([]));
    }
    println!("{dispatches:?} dispatches");
    assert!(dispatches.is_sorted_by(|a, b| a < b), "{dispatches:?}");
}

#[test]
fn fault_46_no_subgroups_is_a_slower_path() {
    check_all("quant", &["q4_k", "f16"], &DeviceOptions { subgroups: false, ..DEVICE });
    check_all("arch", &["qwen3", "llama-moe"], &DeviceOptions { subgroups: false, ..DEVICE });
}

#[test]
fn fault_46_no_f16_is_a_slower_path() {
    let options = DeviceOptions { half: false, arithmetic: Some(Arithmetic::Half), ..DEVICE };
    let Some(device) = device(options.clone()) else { return };
    assert_eq!(device.variant().tiles, Some(Arithmetic::Single));
    assert_eq!(device.arithmetic_after(Arithmetic::Integer), Some(Arithmetic::Single));
    check_all("quant", &["q4_k", "f16", "bf16"], &options);
    check_all("arch", &["gemma3"], &options);
}

/// Answers like the CPU although some kernels are wrong, and says which were not used.
fn survives(file: &[u8], change: Change, disabled: &[&str], on_gpu: bool) {
    CHANGE.set(Some(change));
    let Some(device) = device(DeviceOptions { tamper: Some(tamper), ..DEVICE }) else { return };
    let mut engine = reader(file).open_on(device, &OpenOptions::default()).expect("the model opens");
    supply(&mut engine, file).expect("supplied");
    let prompt: Vec<u32> = (0..40).map(|at| at * 7 % 100).collect();
    let body = greedy(json!({"prompt": prompt}));
    assert_eq!(ask(&mut engine, file, body.clone()).expect("an answer").texts, truth(file, body).texts, "{change:?}");
    assert_eq!(engine.stats()["gpu"]["disabledKernels"], json!(disabled), "{change:?}");
    assert_eq!(engine.gpu().is_some(), on_gpu, "{change:?}");
}

#[test]
fn fault_47_a_kernel_that_the_device_refuses_is_not_used() {
    let file = random_model::file(Shape::default());
    let refused = |name| (name, "fn main(", "not WGSL", false);
    survives(&file, refused("matmat"), &["matmat F32: refused"], true);
    survives(&file, refused("sample"), &["sample: refused"], true);
    survives(&file, refused("attention_reduce"), &["attention_reduce: refused"], true);
    survives(&file, refused("matvec"), &["matvec F32 with subgroups: refused", "matvec F32: refused"], false);
}

#[test]
fn fault_48_a_kernel_with_wrong_results_is_not_used() {
    let file = random_model::file(Shape::default());
    let sums = ("matvec", "sum += subgroupShuffleXor(sum, distance);", "", true);
    survives(&file, sums, &["matvec F32 with subgroups: wrong"], true);
    survives(&file, ("matmat", "dot(w3, v)", "dot(w2, v)", false), &["matmat F32: wrong"], true);
    let reduce = ("attention_reduce", "value / sum", "value", false);
    survives(&file, reduce, &["attention_reduce: wrong"], true);
    let likeliest = ("sample", "vec4(token, bad", "vec4(token + 1.0, bad", false);
    survives(&file, likeliest, &["sample: wrong"], true);
    let parts = ("top", "precedes(candidate, found)", "!precedes(candidate, found)", false);
    survives(&file, parts, &["top: wrong"], true);
    let faded = ("attention_tiles", "sum *= fade;", "", false);
    survives(&file, faded, &["attention_tiles: wrong"], true);
    let fused = ("matvec", "activate(result) *", "result *", false);
    survives(&file, fused, &["matvec F32 with subgroups: wrong", "matvec F32 fused: wrong"], true);
}

#[test]
fn fault_48_a_model_whose_kernels_are_wrong_is_left_to_the_cpu() {
    let file = random_model::file(Shape::default());
    let product = ("matvec", "return dot(c.scale", "return 1.01 * dot(c.scale", false);
    let ways = [" with subgroups: wrong", " fused: wrong", ": wrong"];
    let names = |name: &str| ways.map(|way| format!("{name}{way}"));
    let all = |name: &str, change| survives(&file, change, &names(name).each_ref().map(String::as_str), false);
    all("matvec F32", product);
    all("rope", ("rope", "pair.x * turn.y + pair.y", "pair.x * turn.y - pair.y", false));
    // Of the cache, which no slot shows.
    all("rope", ("rope", "pack2x16float(vec2(head[2u * i]", "pack2x16float(vec2(head[2u * i + 1u]", false));
    all("norm", ("norm", "+ op.epsilon", "+ 1000.0 * op.epsilon + 0.01", false));
    survives(&file, ("embed", "c.scale.y * c.b[j]", "c.scale.x * c.a[j]", false), &["embed F32: wrong"], false);
    survives(&file, ("attention", "sum *= fade;", "", false), &["attention: wrong"], false);
    survives(&file, ("elementwise", "op.kind == GATE", "op.kind == 2u", false), &["elementwise: wrong"], false);
}

#[test]
fn fault_48_experts_and_norms_over_heads_are_tested_too() {
    let Some(data) = reference_data() else { return };
    let read = |name: &str| std::fs::read(data.join(format!("arch/{name}.gguf"))).expect("reference model");
    let experts = read("llama-moe");
    survives(&experts, ("route", "value > best_value", "value < best_value", false), &["route: wrong"], false);
    let sum = ("matvec", "value * choice_weight", "value * 0.9 * choice_weight", false);
    survives(&experts, sum, &["matvec F32 with subgroups: wrong", "matvec F32 fused: wrong"], true);
    let heads = ("rope", "head[i] *= magnitude * weight(norm + i);", "head[i] *= magnitude;", false);
    survives(&read("qwen3"), heads, &["rope with subgroups: wrong", "rope fused: wrong"], true);
    // A window that nobody looks at.
    let window = ("attention", "let start = first_seen(own);", "let start = 0u;", false);
    survives(&read("gemma3"), window, &["attention: wrong"], false);
}

#[test]
fn a_layer_is_few_dispatches_whatever_the_architecture() {
    let Some(data) = reference_data() else { return };
    for (name, most) in [("llama", 6), ("qwen2", 6), ("qwen3", 6), ("phi3", 6), ("gemma3", 8), ("llama-moe", 8)] {
        let Some(device) = device(DEVICE) else { return };
        let file = std::fs::read(data.join(format!("arch/{name}.gguf"))).expect("reference model");
        let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
        let body =
            json!({"kind": "completion", "prompt": [1, 2, 3], "temperature": 0, "max_tokens": 3, "ignore_eos": true});
        ask(&mut engine, &file, body).expect("an answer");
        assert_eq!(stat(&engine, "gpu", "dispatchesPerLayer"), most, "{name}");
    }
}

#[test]
fn rows_that_come_ahead_of_the_table_give_the_same_text() {
    let file = random_model::file(Shape { layers: 2, embedding: 1024, ..Shape::default() });
    let body =
        json!({"kind": "completion", "prompt": "hello hello", "temperature": 0, "max_tokens": 8, "ignore_eos": true});
    let Some(first) = device(DEVICE) else { return };
    let Some(second) = device(DEVICE) else { return };
    let mut whole = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, body.clone()).expect("an answer");
    let mut engine = reader(&file).open_on(second, &OpenOptions::default()).expect("the model opens");
    let mut waits = Vec::new();
    let answer = ask_with(&mut engine, &file, body, |_, event| {
        if let Event::Wait { group } = event {
            waits.push(*group);
        }
    });
    assert_eq!(answer.expect("an answer").texts, truth.texts);
    // Not until the rows were there was anything else supplied.
    assert_eq!(waits[..2], [0, 1]);
}

#[test]
fn a_ceiling_too_small_for_the_device_leaves_the_model_to_the_cpu_unless_the_device_was_named() {
    // So large that reading from disk takes less than a ring.
    let file = random_model::file(Shape { layers: 3, embedding: 256, feed_forward: 1024, ..Shape::default() });
    let Some(first) = device(DEVICE) else { return };
    let least = least_from_disk(&file);
    let options = from_disk(least);
    let plan = reader(&file).plan_on(&first, &options).expect("a plan");
    let on_cpu = reader(&file).plan(&options).expect("a plan");
    assert_eq!((&plan["memory"], &plan["reason"]), (&on_cpu["memory"], &json!(null)));
    assert!(plan["unsuited"].as_str().is_some_and(|why| why.contains("two layers")), "{}", plan["unsuited"]);
    let mut engine = reader(&file).open_on(first, &options).expect("the CPU has room");
    assert_eq!(engine.stats()["device"], "cpu");
    engine.set_disk(disk(file.clone()));
    supply(&mut engine, &file).expect("supplied");
    let answer = ask(&mut engine, &file, greedy(json!({}))).expect("an answer");
    assert_eq!(answer.texts, truth(&file, greedy(json!({}))).texts);

    // Too little for both: what is said is what the CPU would need.
    let second = device(DEVICE).expect("there was one before");
    let plan = reader(&file).plan_on(&second, &from_disk(1)).expect("a plan");
    assert_eq!(plan["memory"]["leastBytes"], least);
    let refused = reader(&file).open_on(second, &from_disk(1)).err().expect("refused");
    assert_eq!((refused.code, &refused.details["need"]), (ErrorCode::BudgetTooSmall, &json!(least)));

    let named = OpenOptions { is_device_named: true, ..options };
    let third = device(DEVICE).expect("there was one before");
    let plan = reader(&file).plan_on(&third, &named).expect("a plan");
    assert!(plan["reason"].is_string() && plan["unsuited"].is_null(), "{plan}");
    assert!(plan["memory"]["leastBytes"].as_u64() > Some(least));
    assert_eq!(reader(&file).open_on(third, &named).err().expect("refused").code, ErrorCode::BudgetTooSmall);
}

#[test]
fn a_plan_says_what_opening_will_take() {
    let file = random_model::file(Shape { layers: 8, ..Shape::default() });
    let reader = || reader(&file);
    let Some(first) = device(DEVICE) else { return };
    let plan = reader().plan_on(&first, &OpenOptions::default()).expect("a plan");
    let engine = open_on(&file, first, &OpenOptions::default()).expect("the model opens");
    let budget = plan["memory"]["budgetBytes"].clone();
    assert_eq!(engine.stats()["memory"]["budgetBytes"], budget);
    assert_eq!(engine.stats()["memory"]["peakResidentBytes"], budget, "and no byte more is taken");
    // A device whose buffers are too small leaves the model to the CPU, and says why.
    let Some(small) = device(DeviceOptions { buffer_bytes_max: Some(4096), ..DEVICE }) else { return };
    let plan = reader().plan_on(&small, &OpenOptions::default()).expect("a plan");
    assert!(plan["unsuited"].as_str().is_some_and(|why| why.contains("4096")), "{}", plan["unsuited"]);
    assert_eq!(plan["memory"], reader().plan(&OpenOptions::default()).expect("a plan")["memory"]);
}

#[test]
fn nothing_is_made_on_a_device_before_its_ceiling_is_checked() {
    thread_local! {
        static COMPILED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    fn counted(_: wasm_chord::gpu::shaders::Kernel, _: wasm_chord::gpu::shaders::Variant, source: String) -> String {
        COMPILED.set(COMPILED.get() + 1);
        source
    }
    let file = random_model::file(Shape::default());
    let options = OpenOptions { max_resident_bytes: Some(1000), is_device_named: true, ..OpenOptions::default() };
    for (options, is_made) in [(options, false), (OpenOptions::default(), true)] {
        let Some(device) = device(DeviceOptions { tamper: Some(counted), ..DEVICE }) else { return };
        let refused = reader(&file).open_on(device, &options).err().map(|error| error.code);
        assert_eq!(refused, (!is_made).then_some(ErrorCode::BudgetTooSmall));
        assert_eq!(COMPILED.get() > 0, is_made);
    }
}

#[test]
fn a_saved_sequence_is_taken_up_here_and_on_the_cpu() {
    let file = random_model::file(Shape::default());
    let body = |prompt: &[u32]| greedy(json!({"prompt": prompt, "max_tokens": 12, "logprobs": 0}));
    let first: Vec<u32> = (20..60).collect();
    let Some(device) = device(DEVICE) else { return };
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let begun = ask(&mut engine, &file, body(&first)).expect("an answer");
    let bytes = saved(&mut engine);
    // A request in between drops what is on its way.
    engine.begin_save().expect("begun");
    assert!(engine.save().expect("the header").is_some());
    assert_eq!(engine.save().expect("begun"), None);
    let longer = [&first[..], &begun.tokens].concat();
    let next = ask(&mut engine, &file, body(&longer)).expect("an answer");
    assert!(next.cached > first.len());
    let later = saved(&mut engine);

    let fresh = support::gpu::device(DEVICE).expect("there was one before");
    let mut other = open_on(&file, fresh, &OpenOptions::default()).expect("the model opens");
    ask(&mut other, &file, body(&[9, 8, 7])).expect("an answer");
    let mut on_cpu = open(&file, &OpenOptions::default()).expect("the model opens");
    for engine in [&mut other, &mut on_cpu] {
        assert_eq!(take_up(engine, &bytes).expect("taken up"), next.cached);
        assert_eq!(saved(engine), bytes, "and saved again it is the same");
        assert_eq!(ask(engine, &file, body(&longer)).expect("an answer"), next);
    }
    assert_eq!(take_up(&mut other, &later).expect("taken up"), longer.len() + next.tokens.len() - 1);
    assert_eq!(saved(&mut other), later);
    // What the CPU computed goes on here.
    ask(&mut on_cpu, &file, body(&first)).expect("an answer");
    take_up(&mut other, &saved(&mut on_cpu)).expect("taken up");
    assert_eq!(ask(&mut other, &file, body(&longer)).expect("an answer").tokens, next.tokens);
    for length in [0, 31, bytes.len() - 1] {
        assert_eq!(take_up(&mut other, &bytes[..length]).expect_err("refused").code, ErrorCode::InvalidState);
    }
}

#[test]
fn a_state_that_cannot_go_back_gives_the_same_texts_here() {
    let file = random_model::file(Shape::default());
    let Some(device) = device(DEVICE) else { return };
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    engine.limit_rewind(wasm_chord::state::Rewind::Nowhere);
    for extra in [json!({}), json!({"prompt": "hello there"}), json!({"n": 2}), json!({"prompt": "hell"})] {
        let body = greedy(extra);
        assert_eq!(ask(&mut engine, &file, body.clone()).expect("an answer").texts, truth(&file, body).texts);
    }
}
