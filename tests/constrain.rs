//! Answers that are held to a grammar: nothing outside it, the end only where it is satisfied, and the same text whatever
//! is guessed ahead.

mod support;

use chord_constrain::{Grammar, Vocabulary};
use serde_json::{Value, json};
use support::json_schema::fault;
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, OpenOptions, Request, Usage};
use wasm_chord::sample::{Sampler, SamplingParams};
use wasm_chord::{ChordError, ErrorCode};

/// Schemas of every kind.
fn schemas() -> Vec<Value> {
    let text = |most: u32| json!({"type": "string", "maxLength": most});
    vec![
        json!({"type": "object", "properties": {"name": text(12), "age": {"type": "integer", "minimum": 0, "maximum": 150}},
            "required": ["name", "age"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": text(5), "b": text(5), "c": text(5)}, "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": {"type": "boolean"}}),
        json!({"type": "object", "patternProperties": {"^x[0-9]$": {"type": "integer", "maximum": 9, "minimum": -9}}, "additionalProperties": false}),
        json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 5}),
        json!({"type": "array", "prefixItems": [{"type": "integer"}, text(4)], "items": false, "minItems": 2}),
        json!({"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "number"}, "maxItems": 4}),
        json!({"enum": ["red", "green", 7, null, {"a": [1]}]}),
        json!({"const": {"k": ["v", 1.5, true]}}),
        json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}),
        json!({"type": "string", "minLength": 3, "maxLength": 6}),
        json!({"type": "string", "format": "date"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "string", "format": "ipv4"}),
        json!({"type": "string", "format": "email"}),
        json!({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20}),
        json!({"type": "integer", "exclusiveMinimum": 10, "maximum": 1000, "multipleOf": 5}),
        json!({"type": ["string", "null", "integer"], "maxLength": 4}),
        json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}, "maxItems": 3}]}),
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"], "additionalProperties": false},
            {"type": "object", "properties": {"kind": {"const": "b"}, "y": text(3)}, "required": ["kind"], "additionalProperties": false},
        ]}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 3}, "b": {"type": "null"}}, "required": ["b"]}]}),
        json!({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 1}},
            "required": ["v"], "additionalProperties": false}}, "$ref": "#/$defs/tree"}),
        json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "object", "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"], "additionalProperties": false}, "minItems": 1, "maxItems": 3}}, "required": ["list"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "required": ["a", "b"], "maxProperties": 2, "minProperties": 1}),
        json!({"type": "object", "properties": {"na\"me\u{e9}/": {"const": "\u{1f642}\n\\"}}, "required": ["na\"me\u{e9}/"], "additionalProperties": false}),
        json!({"type": "object"}),
        json!({}),
    ]
}

/// Tokens of bytes, of words, and two that a grammar may never allow: 0 ends, 1 adds no text.
fn pieces() -> Vec<Vec<u8>> {
    let words = [
        "{\"",
        "\":",
        "\": ",
        "\",",
        ", \"",
        "\"}",
        "}}",
        "},",
        "name",
        "age",
        "kind",
        "true",
        "false",
        "null",
        "  ",
        "\n\n",
        "12",
        "100",
        "-1",
        "an",
        "the",
        "\u{e9}",
        "\u{1f642}",
        "\\n",
        "\\u00",
        "[]",
        "{}",
        "[\"",
        "\"]",
    ];
    let mut pieces = vec![b"</s>".to_vec(), Vec::new()];
    pieces.extend((0..=255u8).map(|byte| vec![byte]));
    pieces.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    pieces
}

#[test]
fn documents_of_random_logits_are_valid() {
    let pieces = pieces();
    let vocabulary = Vocabulary::new(pieces.clone(), &[0]).expect("a vocabulary");
    let mut complete = 0;
    let schemas = schemas();
    for schema in &schemas {
        let mut constraint = vocabulary.compile(Grammar::JsonSchema(schema.clone())).expect("a grammar");
        for seed in 0..50 {
            constraint.restart();
            let params = SamplingParams {
                temperature: [0.0, 0.7, 1.0, 2.0][seed % 4],
                top_k: [0, 5][seed % 2],
                ..SamplingParams::default()
            };
            let mut sampler = Sampler::new(params, seed as u64);
            let mut random = fastrand::Rng::with_seed(seed as u64);
            let mut document = Vec::new();
            let mut is_complete = false;
            for _ in 0..3000 {
                let mut logits: Vec<f32> = (0..pieces.len()).map(|_| random.f32() * 4.0).collect();
                // What closes comes a little sooner, or strings would go on for long.
                b"\"}]".iter().for_each(|byte| logits[usize::from(*byte) + 2] += 2.0);
                // Exponents are valid, and too large for the parser that looks at them here.
                b"eE".iter().for_each(|byte| logits[usize::from(*byte) + 2] -= 12.0);
                let mut allowed = vec![0; vocabulary.words()];
                constraint.mask(&mut allowed).expect("a mask");
                let token = sampler.sample_among(&mut logits, &[], &allowed).expect("a token");
                assert!(allowed[token as usize / 32] >> (token % 32) & 1 == 1, "only what is allowed is drawn");
                assert_ne!(token, 1);
                if token == 0 {
                    is_complete = true;
                    break;
                }
                document.extend_from_slice(&pieces[token as usize]);
                if constraint.commit(token).expect("it was allowed") {
                    is_complete = true;
                    break;
                }
            }
            if !is_complete {
                continue;
            }
            complete += 1;
            let text = String::from_utf8(document).expect("characters are whole");
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}, seed {seed}: {text:?}: {error}"));
            assert_eq!(fault(schema, schema, &value), None, "{schema}, seed {seed}: {text}");
        }
    }
    let all = schemas.len() * 50;
    println!("{complete} of {all} documents were complete");
    assert!(complete * 10 > all * 9, "{complete} of {all}");
}

fn model() -> (Engine, Vec<u8>) {
    let file = random_model::file(Shape { layers: 2, context: 600, ..Shape::default() });
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    constrain::give(&mut engine);
    (engine, file)
}

fn schema_format(schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}})
}

/// An answer, its usage, and how many steps came to tokens.
fn answer(engine: &mut Engine, file: &[u8], extra: &Value) -> Result<(Answer, Usage, usize), ChordError> {
    let mut body = json!({"kind": "completion", "prompt": "hello", "temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 1});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    let (mut usage, mut steps) = (Usage::default(), 0);
    let answer = ask_with(engine, file, body, |_, event| match event {
        Event::Done { usage: told, .. } => usage = *told,
        Event::Token { .. } => steps += 1,
        _ => {}
    })?;
    Ok((answer, usage, steps))
}

#[test]
fn answers_of_random_weights_are_valid() {
    let (mut engine, file) = model();
    let mut complete = 0;
    for schema in
        schemas().iter().filter(|schema| schema.get("type").is_some() && **schema != json!({"type": "object"}))
    {
        for seed in 0..6 {
            let (told, ..) =
                answer(&mut engine, &file, &json!({"response_format": schema_format(schema), "seed": seed}))
                    .expect("an answer");
            if told.reasons == ["Stop"] {
                complete += 1;
                let value: Value = match serde_json::from_str(&told.texts[0]) {
                    Err(error) if error.to_string().contains("out of range") => continue,
                    read => read.unwrap_or_else(|error| panic!("{:?}: {error}", told.texts)),
                };
                assert_eq!(fault(schema, schema, &value), None, "seed {seed}");
            }
        }
    }
    assert!(complete > 80, "{complete} were complete");
}

/// What holds answers in the tests below.
fn grammars() -> Vec<Value> {
    let person = json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "list": {"type": "array", "items": {"enum": ["abc", "abd"]}, "maxItems": 4}},
        "required": ["name", "list"], "additionalProperties": false});
    let mut compact = person.clone();
    compact["x-guidance"] = json!({"whitespace_flexible": false});
    vec![
        json!({"response_format": schema_format(&person)}),
        json!({"response_format": schema_format(&compact)}),
        json!({"regex": "(abcabc|abd){1,9}!"}),
        json!({"grammar": "root ::= (\"the same words, \" | \"the same \")+ [x-z]{1,4}"}),
        json!({"grammar": "root ::= \"(\" root \")\" | \"[\" root \"]\" | \"end\""}),
    ]
}

fn with(grammar: &Value, extra: Value) -> Value {
    let mut body = grammar.clone();
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn guesses_change_no_answer() {
    let (mut engine, file) = model();
    let mut accepted = 0;
    for grammar in grammars() {
        for seed in 0..8 {
            let ask = |engine: &mut Engine, most: u32| {
                let mut right = 0;
                let extra = with(
                    &grammar,
                    json!({"kind": "completion", "prompt": "abcabc the same words, the same", "seed": seed, "temperature": 1, "draft_max": most, "max_tokens": 200}),
                );
                let told = ask_with(engine, &file, extra, |_, event| {
                    if let Event::Done { draft, .. } = event {
                        right = draft.accepted;
                        assert!(draft.accepted <= draft.drafted);
                    }
                });
                (told.expect("an answer"), right)
            };
            let (truth, _) = ask(&mut engine, 0);
            for most in [1, 3, 15] {
                let (drafted, right) = ask(&mut engine, most);
                assert_eq!(
                    (&drafted.texts, &drafted.reasons),
                    (&truth.texts, &truth.reasons),
                    "{grammar}, seed {seed}, {most}"
                );
                accepted += right;
            }
        }
    }
    assert!(accepted > 50, "{accepted} guesses were right");
}

#[test]
fn what_is_forced_takes_one_pass() {
    let (mut engine, file) = model();
    let schema = json!({"type": "object", "properties": {"a long name of a property": {"type": "boolean"}}, "required": ["a long name of a property"],
        "additionalProperties": false, "x-guidance": {"whitespace_flexible": false}});
    let format = schema_format(&schema);
    let (told, usage, steps) = answer(&mut engine, &file, &json!({"response_format": format})).expect("an answer");
    let text = &told.texts[0];
    assert!(text.starts_with("{\"a long name of a property\":") && text.ends_with("e}"), "{text}");
    assert_eq!(usage.completion_tokens, text.len(), "a token a byte");
    assert!(steps <= 3, "{steps} steps for {text}");
    // Where probabilities are asked for, each token has a pass and the answer is the same.
    let (slow, _, steps) =
        answer(&mut engine, &file, &json!({"response_format": format, "logprobs": 1})).expect("an answer");
    assert_eq!((&slow.texts, &slow.reasons), (&told.texts, &told.reasons));
    assert_eq!(slow.tokens.len(), text.len());
    assert!(steps >= text.len() - 1, "{steps}");
}

#[test]
fn probabilities_change_no_answer() {
    let (mut engine, file) = model();
    for grammar in grammars() {
        for extra in [
            json!({"temperature": 0}),
            json!({"seed": 3}),
            json!({"seed": 4, "presence_penalty": 1, "repeat_penalty": 1.2}),
        ] {
            let extra = with(&grammar, with(&extra, json!({"max_tokens": 150})));
            let (plain, usage, _) = answer(&mut engine, &file, &extra).expect("an answer");
            let (told, again, _) =
                answer(&mut engine, &file, &with(&extra, json!({"logprobs": 0}))).expect("an answer");
            assert_eq!((&plain.texts, &plain.reasons), (&told.texts, &told.reasons), "{extra}");
            assert_eq!(usage.completion_tokens, again.completion_tokens);
        }
    }
}

#[test]
fn each_choice_is_held_to_the_grammar() {
    let (mut engine, file) = model();
    let options = OpenOptions { max_sequences: Some(3), ..OpenOptions::default() };
    let mut together = open(&file, &options).expect("the model opens");
    constrain::give(&mut together);
    for grammar in grammars() {
        let several = with(&grammar, json!({"n": 4, "seed": 5, "max_tokens": 150}));
        let told = [&mut engine, &mut together].map(|engine| answer(engine, &file, &several).expect("an answer").0);
        for choice in 0..4 {
            let single = with(&grammar, json!({"seed": 5 + choice, "max_tokens": 150}));
            let (alone, ..) = answer(&mut engine, &file, &single).expect("an answer");
            for told in &told {
                let (text, reason) = (&told.texts[choice], &told.reasons[choice]);
                assert_eq!((text, reason), (&alone.texts[0], &alone.reasons[0]), "{grammar}");
            }
        }
    }
    assert!(together.stats()["sequences"]["tokens"].as_u64() > Some(0), "some were computed together");
}

#[test]
fn an_answer_ends_where_the_grammar_does() {
    let (mut engine, file) = model();
    for seed in 0..20 {
        let (told, usage, _) =
            answer(&mut engine, &file, &json!({"regex": "(ab|cd){2}", "seed": seed})).expect("an answer");
        assert!(["abab", "abcd", "cdab", "cdcd"].contains(&told.texts[0].as_str()), "{:?}", told.texts);
        assert_eq!((told.reasons[0].as_str(), usage.completion_tokens), ("Stop", 4));
        // The end may come, and need not.
        let (told, ..) = answer(&mut engine, &file, &json!({"regex": "a{2,500}", "seed": seed, "max_tokens": 20}))
            .expect("an answer");
        let length = told.texts[0].len();
        assert!(told.texts[0].bytes().all(|byte| byte == b'a') && length >= 2);
        assert_eq!(told.reasons[0] == "Length", length == 20);
        let (cut, ..) = answer(&mut engine, &file, &json!({"regex": "abcdefgh", "seed": seed, "max_tokens": 3}))
            .expect("an answer");
        assert_eq!((cut.texts[0].as_str(), cut.reasons[0].as_str()), ("abc", "Length"));
    }
    let (empty, usage, _) = answer(&mut engine, &file, &json!({"regex": "(?:)", "max_tokens": 9})).expect("an answer");
    assert_eq!((empty.texts.concat().as_str(), empty.reasons[0].as_str(), usage.completion_tokens), ("", "Stop", 1));
    // A bias cannot let in what is forbidden, not even the end.
    let biased = json!({"regex": "[0-9]{30}", "logit_bias": {"2": 100, "100": 100}});
    let (told, ..) = answer(&mut engine, &file, &biased).expect("an answer");
    assert!(told.texts[0].len() == 30 && told.texts[0].bytes().all(|byte| byte.is_ascii_digit()), "{:?}", told.texts);
}

#[test]
fn stop_strings_end_it_sooner() {
    let (mut engine, file) = model();
    let ask = |engine: &mut Engine, stop: &str, logprobs: Value| {
        let (told, ..) =
            answer(engine, &file, &json!({"regex": "one two three( four)?", "stop": stop, "logprobs": logprobs}))
                .expect("an answer");
        (told.texts[0].clone(), told.reasons[0].clone())
    };
    for logprobs in [Value::Null, json!(1)] {
        assert_eq!(ask(&mut engine, " two", logprobs.clone()), ("one".into(), "Stop".into()));
        assert_eq!(ask(&mut engine, "e t", logprobs.clone()), ("on".into(), "Stop".into()));
        assert!(ask(&mut engine, "never", logprobs).0.starts_with("one two three"));
    }
}

#[test]
fn a_cancelled_answer_leaves_the_engine_usable() {
    let (mut engine, file) = model();
    let grammar = &grammars()[0];
    let (truth, ..) = answer(&mut engine, &file, grammar).expect("an answer");
    for steps in 0..30 {
        let body = with(grammar, json!({"kind": "completion", "prompt": "hello", "draft_max": 7}));
        engine.begin(Request::from_json(&body.to_string()).expect("a body"), MOMENT).expect("begins");
        for _ in 0..steps {
            if matches!(engine.step().expect("a step"), Event::Done { .. }) {
                break;
            }
        }
        engine.cancel();
        assert_eq!(answer(&mut engine, &file, grammar).expect("an answer").0.texts, truth.texts, "after {steps}");
        answer(&mut engine, &file, &json!({"max_tokens": 3})).expect("an answer without a grammar");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let (mut engine, file) = model();
    let mut refused = |extra: Value| {
        let error = answer(&mut engine, &file, &extra).expect_err("refused");
        assert_eq!(error.code, ErrorCode::InvalidParameter, "{error}");
        (error.details["name"].clone(), error.details.get("keyword").cloned().unwrap_or_default())
    };
    assert_eq!(
        refused(json!({"response_format": schema_format(&json!({"not": {}}))})),
        (json!("response_format"), json!("not"))
    );
    assert_eq!(
        refused(json!({"response_format": schema_format(&json!({"type": "array", "uniqueItems": true}))})).1,
        "uniqueItems"
    );
    assert_eq!(refused(json!({"grammar": "root ::= x"})).0, "grammar");
    assert_eq!(refused(json!({"grammar": "start: nothing"})).0, "grammar");
    assert_eq!(refused(json!({"regex": "("})).0, "regex");
    assert_eq!(refused(json!({"regex": "a", "grammar": "root ::= \"a\""})).0, "regex");
    assert_eq!(refused(json!({"regex": "a", "ignore_eos": true})).0, "ignore_eos");
    answer(&mut engine, &file, &json!({"max_tokens": 2})).expect("the engine is usable afterwards");
    let mut without = open(&file, &OpenOptions::default()).expect("the model opens");
    assert_eq!(
        answer(&mut without, &file, &json!({"regex": "a"})).expect_err("nothing reads it").code,
        ErrorCode::Internal
    );
}

/// The kinds of tokens.
const CONTROL: i32 = 3;
const NORMAL: i32 = 1;

/// A model that recites `pieces` where it may, in a chat whose prompt ends with `opening` and a line feed.
fn reciting(opening: &str, pieces: &[(&str, i32)]) -> (Engine, Vec<u8>) {
    let opening = format!("<think></think>{opening}");
    reciting_by(
        &format!("{{% for m in messages %}}{{{{ m.content }}}}\n{{% endfor %}}{opening}{{{{ '\\n' }}}}"),
        pieces,
    )
}

/// The same with a template of its own, whose prompt ends with a line feed.
fn reciting_by(template: &str, pieces: &[(&str, i32)]) -> (Engine, Vec<u8>) {
    let file = random_model::reciting(template, pieces);
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    constrain::give(&mut engine);
    (engine, file)
}

/// Thought and answer.
fn thoughtful(engine: &mut Engine, file: &[u8], extra: Value) -> (String, String) {
    let mut thought = String::new();
    let body = with(
        &extra,
        json!({"kind": "chat", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 30}),
    );
    let told = ask_with(engine, file, body, |_, event| match event {
        Event::Token { reasoning, .. } | Event::Finish { reasoning, .. } => thought.push_str(reasoning),
        _ => {}
    });
    (thought, told.expect("an answer").texts.concat())
}

#[test]
fn a_thought_is_free_and_the_answer_behind_it_is_not() {
    let regex = json!({"regex": "yes|no"});
    let expect = |told: (String, String), thought: &str| {
        assert_eq!(told.0.trim(), thought);
        assert!(["yes", "no"].contains(&told.1.as_str()), "{told:?}");
    };
    // The prompt opens the thought.
    let (mut engine, file) = reciting("<think>", &[("hmm", NORMAL), ("</think>", CONTROL), ("whatever", NORMAL)]);
    expect(thoughtful(&mut engine, &file, regex.clone()), "hmm");
    expect(thoughtful(&mut engine, &file, with(&regex, json!({"draft_max": 5}))), "hmm");
    // The model opens it.
    let (mut engine, file) =
        reciting("", &[("<think>", CONTROL), ("hmm", NORMAL), ("</think>", CONTROL), ("whatever", NORMAL)]);
    expect(thoughtful(&mut engine, &file, regex.clone()), "hmm");
    // It opens none.
    let (mut engine, file) = reciting("", &[("whatever", NORMAL), ("<think>", CONTROL), ("</think>", CONTROL)]);
    expect(thoughtful(&mut engine, &file, regex.clone()), "");
    // The mark is text, and the token that completes it brings more, which is not taken.
    let (mut engine, file) = reciting("<think>", &[("hmm", NORMAL), ("</think", NORMAL), (">wrong", NORMAL)]);
    let (thought, told) = thoughtful(&mut engine, &file, regex);
    assert!(!told.contains("wrong") && thought.starts_with("hmm"), "{thought:?}, {told:?}");
}

#[test]
fn the_header_of_a_frame_is_free_and_its_content_is_not() {
    let template = "{% for m in messages %}{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}\
        {% else %}<|start|>user<|message|>{{ m.content }}{% endif %}{% endfor %}{{ '\\n' }}";
    let header = [("<|channel|>", CONTROL), ("final", NORMAL), ("<|message|>", CONTROL)];
    for (pieces, what) in [
        ([&header[..], &[("whatever", NORMAL)]].concat(), "an answer"),
        ([&[("whatever", NORMAL)], &header[..]].concat(), "an answer without a header"),
    ] {
        let (mut engine, file) = reciting_by(template, &pieces);
        let (thought, told) = thoughtful(&mut engine, &file, json!({"regex": "yes|no"}));
        assert_eq!(thought, "", "{what}");
        assert!(["yes", "no", ""].contains(&told.as_str()), "{what}: {told:?}");
        assert_eq!(told.is_empty(), pieces[0].0 == "whatever", "{what}");
    }
}
