//! Requests through an engine: bad input, limits, choices, prefixes, embeddings. Numbers are those of the faults in CONTRIBUTING.md.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, Event, OpenOptions, Request};
use wasm_chord::tokenizer::EncodeOptions;

fn model() -> (Engine, Vec<u8>) {
    let file = random_model::file(Shape::default());
    (open(&file, &OpenOptions::default()).expect("the model opens"), file)
}

fn completion(extra: Value) -> Value {
    let mut body =
        json!({"kind": "completion", "prompt": "hello", "temperature": 0, "max_tokens": 5, "ignore_eos": true});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

fn refused(extra: Value) -> wasm_chord::ChordError {
    let (mut engine, file) = model();
    let error = ask(&mut engine, &file, completion(extra)).expect_err("refused");
    ask(&mut engine, &file, completion(json!({}))).expect("the engine is usable afterwards");
    error
}

#[test]
fn fault_14_damaged_weights_are_an_error_that_names_the_layer() {
    for value in [f32::NAN, f32::INFINITY] {
        let file = random_model::writer(Shape::default(), |name, data| {
            if name == "blk.3.ffn_down.weight" {
                data[..4].copy_from_slice(&value.to_le_bytes());
            }
        })
        .file();
        let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
        let error = ask(&mut engine, &file, completion(json!({}))).expect_err("damaged");
        assert_eq!(error.code, ErrorCode::NonFinite);
        assert_eq!(error.details["layer"], 3, "{error}");
    }
}

#[test]
fn fault_55_empty_input() {
    assert_eq!(refused(json!({"prompt": []})).details["name"], "prompt");
    let (mut engine, file) = model();
    let error = ask(&mut engine, &file, json!({"kind": "chat", "messages": []})).expect_err("no messages");
    assert_eq!((error.code, &error.details["name"]), (ErrorCode::InvalidParameter, &json!("messages")));
}

#[test]
fn fault_56_a_long_prompt_is_refused_before_any_work() {
    let error = refused(json!({"prompt": vec![5; 500]}));
    assert_eq!(error.code, ErrorCode::ContextOverflow);
    assert_eq!((&error.details["need"], &error.details["have"]), (&json!(501), &json!(128)));
    assert_eq!(error.details["trained"], 128);
    assert!(error.message.ends_with("shorten the input: the model was trained for 128 tokens"), "{error}");
}

#[test]
fn advice_on_a_long_prompt_can_be_followed() {
    let file = random_model::file(Shape::default());
    let ask_within = |context: usize| {
        let options = OpenOptions { context_length: Some(context), ..OpenOptions::default() };
        let mut engine = open(&file, &options).expect("the model opens");
        ask(&mut engine, &file, completion(json!({"prompt": vec![5; 40], "max_tokens": 1})))
    };
    let error = ask_within(32).expect_err("too long");
    assert!(error.message.ends_with("open the model with a contextLength of 41 to 128"), "{error}");
    ask_within(41).expect("the advice helps");
}

#[test]
fn a_context_beyond_the_training_is_warned_about() {
    let file = random_model::file(Shape::default());
    let info = |context: usize| {
        let options = OpenOptions { context_length: Some(context), ..OpenOptions::default() };
        open(&file, &options).expect("the model opens").info().clone()
    };
    assert_eq!(info(128)["warnings"], json!([]));
    let beyond = info(129);
    assert_eq!(beyond["contextLength"], 129);
    let warning = beyond["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("trained for 128 tokens"), "{warning}");
}

#[test]
fn a_file_without_a_template_says_so_and_completes() {
    let file = random_model::writer(Shape::default(), |_, _| {}).without("tokenizer.chat_template").file();
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    assert_eq!(engine.info()["hasChatTemplate"], false);
    assert_eq!(engine.info()["warnings"], json!(["the file has no chat template: chats are refused"]));
    let chat = json!({"kind": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2});
    let error = ask(&mut engine, &file, chat).expect_err("no template");
    assert_eq!((error.code, &error.details["reason"]), (ErrorCode::TemplateFailed, &json!("missing")));
    ask(&mut engine, &file, completion(json!({}))).expect("a completion");
    assert_eq!(model().0.info()["hasChatTemplate"], true);
}

#[test]
fn a_file_without_a_template_takes_chatml_if_it_has_its_tokens() {
    // Two of the byte tokens make way.
    let file = random_model::renamed(&[(257, "<|im_start|>", 3), (258, "<|im_end|>", 3)]);
    let file = file.without("tokenizer.chat_template").file();
    let engine = open(&file, &OpenOptions::default()).expect("the model opens");
    assert_eq!(engine.info()["hasChatTemplate"], false);
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": false});
    let prompt = engine.apply_chat_template(&body.to_string(), MOMENT.now).expect("a prompt");
    assert_eq!(prompt, "<|im_start|>user\nhi<|im_end|>\n");
    let warnings = engine.info()["warnings"].as_array().expect("a list");
    assert!(warnings[0].as_str().expect("text").contains("ChatML is used"), "{warnings:?}");
}

#[test]
fn turn_markers_typed_as_text_stop_the_answer_and_never_reach_the_person() {
    let marked = |kind| random_model::renamed(&[(257, "<start_of_turn>", kind), (258, "<end_of_turn>", kind)]).file();
    let (text, control) = (marked(1), marked(3));
    let mut engine = open(&text, &OpenOptions::default()).expect("the model opens");
    let warnings = engine.info()["warnings"].as_array().expect("a list").clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].as_str().expect("text").contains("<start_of_turn>, <end_of_turn>"), "{warnings:?}");
    let biased = |id: u32| json!({"prompt": "a", "logit_bias": {id.to_string(): 100}, "ignore_eos": false});
    let answer = ask(&mut engine, &text, completion(biased(258))).expect("an answer");
    assert_eq!((answer.texts, answer.reasons), (vec![String::new()], vec!["Stop".to_string()]));
    let answer = ask(&mut engine, &text, completion(biased(257))).expect("an answer");
    assert_eq!(answer.texts, [""]);
    let sound = open(&control, &OpenOptions::default()).expect("the model opens");
    assert_eq!(sound.info()["warnings"], json!([]));
    let ids = |engine: &Engine, text| {
        let options = EncodeOptions { add_special: false, parse_special: true };
        engine.tokenizer().encode(text, options).expect("tokens")
    };
    let prompt = "<start_of_turn>user\nhi<end_of_turn>\n";
    assert_eq!(ids(&engine, prompt), ids(&sound, prompt));
    assert_eq!(ids(&engine, "<start_of_turn>"), [257]);
}

#[test]
fn fault_57_parameters_out_of_range_are_named() {
    for (name, value) in [
        ("temperature", json!(-1)),
        ("temperature", json!("hot")),
        ("top_p", json!(1.5)),
        ("top_k", json!(-3)),
        ("n", json!(0)),
        ("logprobs", json!(51)),
        ("logit_bias", json!({"259": 1})),
        ("logit_bias", json!({"3": 1e9})),
        ("max_tokens", json!(-1)),
        ("stop", json!([""])),
    ] {
        let error = refused(json!({name: value}));
        assert_eq!((error.code, &error.details["name"]), (ErrorCode::InvalidParameter, &json!(name)), "{error}");
    }
    assert_eq!(refused(json!({"prompt": [9999]})).code, ErrorCode::InvalidParameter);
    for (name, value) in [
        ("add_generation_prompt", json!(1)),
        ("chat_template", json!(5)),
        ("chat_template_kwargs", json!([])),
        ("reasoning_effort", json!(true)),
        ("temperature", json!("hot")),
    ] {
        let error = Request::from_json(&json!({"kind": "chat", "messages": [], name: value}).to_string());
        assert_eq!(error.expect_err("refused").details["name"], json!(name));
    }
    let error = Request::from_json(&json!({"kind": "chat", "temperature": 0}).to_string()).expect_err("no messages");
    assert_eq!(error.details["name"], "messages");
}

#[test]
fn fault_58_a_cancelled_request_leaves_the_engine_usable() {
    let (mut engine, file) = model();
    let truth = ask(&mut engine, &file, completion(json!({}))).expect("an answer");
    for steps in 0..12 {
        let body = completion(json!({"prompt": "another prompt", "max_tokens": 50})).to_string();
        engine.begin(Request::from_json(&body).expect("a body"), MOMENT).expect("begins");
        for _ in 0..steps {
            engine.step().expect("a step");
        }
        engine.cancel();
        assert_eq!(ask(&mut engine, &file, completion(json!({}))).expect("an answer").texts, truth.texts);
    }
}

#[test]
fn max_tokens_and_the_context_end_a_choice() {
    let (mut engine, file) = model();
    let answer = ask(&mut engine, &file, completion(json!({"max_tokens": 7, "logprobs": 0}))).expect("an answer");
    assert_eq!((answer.tokens.len(), answer.reasons.as_slice()), (7, ["Length".to_string()].as_slice()));
    let none = ask(&mut engine, &file, completion(json!({"max_tokens": 0}))).expect("an answer");
    assert_eq!(none.texts, [""]);
    let full = ask(&mut engine, &file, completion(json!({"max_tokens": null, "logprobs": 0}))).expect("an answer");
    assert_eq!(full.tokens.len(), 128 - 7, "the start token, a space and five bytes leave the rest of the context");
}

#[test]
fn a_prefix_in_the_cache_is_not_computed_again() {
    let (mut engine, file) = model();
    let long = completion(json!({"prompt": "a common beginning, then one"}));
    let (mut fresh, _) = model();
    let truth = ask(&mut fresh, &file, long.clone()).expect("an answer");
    assert_eq!(truth.cached, 0);
    ask(&mut engine, &file, completion(json!({"prompt": "a common beginning, then another"}))).expect("an answer");
    let second = ask(&mut engine, &file, long.clone()).expect("an answer");
    assert_eq!(second.texts, truth.texts);
    assert_eq!(second.cached, 2 + "a common beginning, then ".len());
    let third = ask(&mut engine, &file, long).expect("an answer");
    assert_eq!((third.texts, third.cached), (truth.texts, 1 + "a common beginning, then one".len()));
}

#[test]
fn choices_start_from_the_same_prompt_and_differ_by_seed() {
    let (mut engine, file) = model();
    let body =
        completion(json!({"n": 3, "temperature": 2, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 11, "max_tokens": 8}));
    let first = ask(&mut engine, &file, body.clone()).expect("an answer");
    assert_eq!(first.texts.len(), 3);
    assert!(first.texts[0] != first.texts[1] || first.texts[1] != first.texts[2]);
    let second = ask(&mut engine, &file, body).expect("an answer");
    assert_eq!(first.texts, second.texts, "the same seed gives the same texts");
    let greedy = ask(&mut engine, &file, completion(json!({"n": 2}))).expect("an answer");
    assert_eq!(greedy.texts[0], greedy.texts[1]);
}

#[test]
fn embeddings_have_length_one_and_tell_inputs_apart() {
    let (mut engine, file) = model();
    let embed = |engine: &mut Engine, text: &str| {
        ask(engine, &file, json!({"kind": "embedding", "input": text})).expect("an embedding").embedding
    };
    let (a, b, again) = (embed(&mut engine, "one text"), embed(&mut engine, "another"), embed(&mut engine, "one text"));
    assert_eq!(a, again);
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    assert!((dot(&a, &a) - 1.0).abs() < 1e-4 && dot(&a, &b) < 0.9999);
}

/// Opens a header whose keys are a sound model's but for one.
fn open_with(key: &str, value: u32) -> wasm_chord::ChordError {
    let mut file = wasm_chord::gguf::testing::Writer::new().pair("general.architecture", "llama");
    for (name, sound) in [
        ("llama.block_count", 1),
        ("llama.context_length", 64),
        ("llama.embedding_length", 64),
        ("llama.feed_forward_length", 96),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("llama.rope.dimension_count", 16),
        ("llama.expert_count", 0),
        ("llama.expert_used_count", 0),
    ] {
        file = file.pair(name, if name == key { value } else { sound });
    }
    let file = file.zeros("token_embd.weight", &[64, 259], wasm_chord::quant::Dtype::F32).file();
    open(&file, &OpenOptions::default()).err().expect("refused")
}

#[test]
fn fault_13_sizes_that_cannot_be_are_named() {
    for (key, values) in [
        ("llama.block_count", vec![0, 1025, u32::MAX]),
        ("llama.embedding_length", vec![0, u32::MAX]),
        ("llama.feed_forward_length", vec![0, u32::MAX]),
        ("llama.context_length", vec![0, u32::MAX]),
        ("llama.attention.head_count", vec![0, 5000]),
        ("llama.attention.head_count_kv", vec![3, 4097]),
        ("llama.rope.dimension_count", vec![15, 18]),
        ("llama.expert_count", vec![2, 2000]),
    ] {
        for value in values {
            let error = open_with(key, value);
            assert_eq!(error.code, ErrorCode::InvalidModel, "{key} = {value}: {error}");
        }
    }
    // A sound header whose tensors do not fit it, or are not there.
    for (key, value) in [("llama.embedding_length", 128), ("llama.block_count", 2)] {
        assert!(open_with(key, value).details.contains_key("tensor"), "{key}");
    }
}

#[test]
fn fault_13_tensors_of_another_shape_are_named() {
    let narrow = Shape { feed_forward: 32, ..Shape::default() };
    let mut sound = random_model::file(Shape::default());
    let other = random_model::file(narrow);
    // The metadata of one and the tensors of the other.
    let key = b"llama.feed_forward_length";
    let at = |file: &[u8]| file.windows(key.len()).position(|w| w == key).expect("the key") + key.len() + 4;
    let (to, from) = (at(&sound), at(&other));
    sound[to..to + 4].copy_from_slice(&other[from..from + 4]);
    let error = open(&sound, &OpenOptions::default()).err().expect("refused");
    assert_eq!(error.code, ErrorCode::InvalidModel);
    assert_eq!(error.details["tensor"], "blk.0.ffn_gate.weight");
}

/// A template of a model that thinks and calls tools.
const CALLER: &str = "{% for m in messages %}{{ m.role }}: {% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n\
                      {% endif %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{\"name\": \"{{ c.function.name }}\", \
                      \"arguments\": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}{{ '\n' }}{% endfor %}";

/// What a request came to: content, reasoning, calls with their arguments, and why it ended.
fn read(engine: &mut Engine, file: &[u8], more: serde_json::Value) -> (String, String, Vec<String>, String) {
    let mut body = json!({"kind": "chat", "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (mut reasonings, mut calls) = (String::new(), Vec::<String>::new());
    let answer = ask_with(engine, file, body, |_, event| {
        let (Event::Token { reasoning, calls: deltas, .. } | Event::Finish { reasoning, calls: deltas, .. }) = event
        else {
            return;
        };
        reasonings.push_str(reasoning);
        for delta in deltas {
            match &delta.name {
                Some(name) => calls.push(format!("{name}: {}", delta.arguments)),
                None => calls[delta.index].push_str(&delta.arguments),
            }
        }
    });
    let answer = answer.expect("an answer");
    (answer.texts.concat(), reasonings, calls, answer.reasons.concat())
}

#[test]
fn reasoning_and_calls_are_told_apart_from_content() {
    // Of the kinds 3 is a control token and 4 is text that is always one token.
    let pieces = [
        ("<think>", 3),
        ("\nThey", 4),
        (" ask.", 4),
        ("\n</think>\n", 4),
        ("\nI look", 4),
        (".\n", 4),
        ("<tool_call>", 3),
        ("{\"name\": \"look", 4),
        ("up\", \"arguments\": {\"a", 4),
        ("\": 1}}", 4),
        ("</tool_call>", 3),
        ("\n<tool_call>{\"name\": \"time\"}", 4),
        ("</tool_call>\n", 4),
    ];
    let file = random_model::reciting(CALLER, &pieces);
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let tools = json!([{"type": "function", "function": {"name": "lookup"}}, {"type": "function", "function": {"name": "time"}}]);
    let mut read = |more| {
        let (content, reasoning, calls, reason) = read(&mut engine, &file, more);
        (content, reasoning, calls.join(", "), reason)
    };
    let told = |content: &str, reasoning: &str, calls: &str, reason: &str| {
        (content.into(), reasoning.into(), calls.into(), reason.into())
    };
    let both = "lookup: {\"a\": 1}, time: {}";
    assert_eq!(read(json!({"tools": tools})), told("I look.", "They ask.", both, "ToolCalls"));
    assert_eq!(
        read(json!({"tools": tools, "parallel_tool_calls": false})),
        told("I look.", "They ask.", "lookup: {\"a\": 1}", "ToolCalls")
    );
    assert_eq!(read(json!({"tools": tools, "max_tokens": 3})), told("", "They ask.", "", "Length"));
    assert_eq!(read(json!({"tools": tools, "max_tokens": 9})), told("I look.", "They ask.", "lookup: {\"a", "Length"));
    assert_eq!(read(json!({"tools": tools, "stop": ["look"]})), told("I ", "They ask.", "", "Stop"));
    // Without tools nothing is a call. Names of control tokens that have come are not shown, however they are spelt.
    let plain = "I look.\n{\"name\": \"lookup\", \"arguments\": {\"a\": 1}}\n{\"name\": \"time\"}\n";
    assert_eq!(read(json!({})), told(plain, "They ask.", "", "Stop"));
    assert_eq!(read(json!({"n": 2, "tools": tools})).0, "I look.I look.");
    let completion = json!({"kind": "completion", "prompt": "\n", "max_tokens": 20});
    let raw = ask(&mut engine, &file, completion).expect("an answer").texts.concat();
    assert!(raw.starts_with("\nThey ask.\n</think>"), "a completion is as it was written: {raw}");
}

#[test]
fn tokens_of_thoughts_are_counted_with_their_marks() {
    const OPENED: &str = "{% for m in messages %}{{ m.content }}{% endfor %}<think>{{ '\\n' }}";
    const FRAMED: &str = "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>\
        {{ m.content }}{% endfor %}{{ '\\n' }}";
    let tokens = [("<think>", 3), ("\nThey", 4), (" ask.", 4), ("\n</think>\n", 4), ("\nI look", 4), (".\n", 4)];
    let texts = [("<th", 4), ("ink>", 4), ("hmm", 4), (" so", 4), ("</thi", 4), ("nk>", 4), ("\nyes", 4)];
    let none = [("<th", 4), ("e mark>", 4), ("</think>", 3), ("yes", 4)];
    let opened = [("hmm", 4), (" so", 4), ("</think>", 3), ("\n\nyes", 4), (" <think>", 4), ("no", 4)];
    let framed = [
        ("<|channel|>", 3),
        ("analysis", 4),
        ("<|message|>", 3),
        ("hmm", 4),
        (" so", 4),
        ("<|end|><|start|>assistant", 4),
        ("<|channel|>final", 4),
        ("<|message|>yes", 4),
        ("no", 4),
    ];
    for (template, pieces, more, expected) in [
        (CALLER, &tokens[..], json!({}), 4),
        (CALLER, &tokens, json!({"max_tokens": 3}), 3),
        // Their texts are held back for a long while.
        (CALLER, &tokens, json!({"stop": "a text that does not come, however long it is waited for"}), 4),
        (CALLER, &tokens, json!({"n": 3}), 12),
        (CALLER, &texts, json!({}), 6),
        (CALLER, &texts, json!({"max_tokens": 1}), 0),
        (CALLER, &none, json!({}), 0),
        (OPENED, &opened, json!({}), 3),
        (FRAMED, &framed, json!({}), 6),
    ] {
        let file = random_model::reciting(template, pieces);
        let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
        let mut body = json!({"kind": "chat", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 30});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut counted = None;
        ask_with(&mut engine, &file, body, |_, event| {
            if let Event::Done { usage, .. } = event {
                counted = Some(usage.completion_tokens_details.reasoning_tokens);
            }
        })
        .expect("an answer");
        assert_eq!(counted, Some(expected), "{pieces:?}, {more}");
    }
}
