//! Calls of tools that are held to the schemas of the tools: in the form in which the template writes calls, whether the model
//! has to call or chooses to, and whatever it would have written otherwise.

mod support;

use serde_json::{Value, json};
use support::json_schema::fault;
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Event, OpenOptions};
use wasm_chord::{ChordError, ErrorCode};

/// The kinds of tokens.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const NORMAL: i32 = 1;

/// The first of the ids that tests put tokens of their own at: those of bytes that are in no text.
const FIRST: usize = 3 + 0xf8;

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn tool(name: &str, parameters: &Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "does it", "parameters": parameters}})
}

/// Tools whose calls tags can be held to, too.
fn tools() -> Vec<Value> {
    let text = |most: u32| json!({"type": "string", "maxLength": most});
    let weather = object(
        json!({"city": text(12), "unit": {"enum": ["celsius", "kelvin"]}, "days": {"type": "integer", "minimum": 1, "maximum": 14}}),
        &["city", "days"],
    );
    let item = object(
        json!({"ok": {"type": "boolean"}, "n": {"type": ["number", "null"], "minimum": -5, "maximum": 5}}),
        &["ok"],
    );
    let list = json!({"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "maxItems": 2});
    let mut store =
        object(json!({"note": {"type": "string", "minLength": 2, "maxLength": 5}, "list": list}), &["list"]);
    store["$defs"] = json!({"item": item});
    vec![tool("get_weather", &weather), tool("get", &object(json!({}), &[])), tool("store-it", &store)]
}

/// A way of writing calls.
struct Way {
    name: &'static str,
    /// What a template writes for the calls of a message, as Jinja.
    calls: &'static str,
    /// Tokens of its own, of these kinds.
    tokens: &'static [(&'static str, i32)],
}

const ARGUMENTS: &str = "{{ c.function.arguments | tojson }}";

/// Ways of many families, and each with marks that are tokens and with such that are text.
fn ways() -> Vec<Way> {
    let way = |name, calls, tokens| Way { name, calls, tokens };
    vec![
        way(
            "hermes",
            "{% for c in m.tool_calls %}\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", \"arguments\": @@}\n</tool_call>{% endfor %}",
            &[],
        ),
        way(
            "hermes, with tokens",
            "{% for c in m.tool_calls %}\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", \"arguments\": @@}\n</tool_call>{% endfor %}",
            &[("<tool_call>", CONTROL), ("</tool_call>", CONTROL)],
        ),
        way(
            "llama 3",
            "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call only') }}{% endif %}{% set c = m.tool_calls[0] %}{\"name\": \"{{ c.function.name }}\", \"parameters\": @@}",
            &[],
        ),
        way(
            "mistral lists",
            "[TOOL_CALLS] [{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"arguments\": @@, \"id\": \"{{ c.id }}\"}{{ ', ' if not loop.last }}{% endfor %}]",
            &[("[TOOL_CALLS]", CONTROL)],
        ),
        way(
            "mistral names",
            "{% for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]@@{% endfor %}",
            &[("[TOOL_CALLS]", CONTROL), ("[ARGS]", CONTROL), ("[CALL_ID]", CONTROL)],
        ),
        way(
            "deepseek 3",
            "<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ c.function.name }}\n```json\n@@\n```<｜tool▁call▁end｜>{{ '\\n' if not loop.last }}{% endfor %}<｜tool▁calls▁end｜>",
            &[("<｜tool▁sep｜>", CONTROL), ("<｜tool▁calls▁begin｜>", CONTROL), ("<｜tool▁call▁end｜>", USER_DEFINED)],
        ),
        way(
            "deepseek 3.2",
            "<｜DSML｜function_calls>\n{% for c in m.tool_calls %}<｜DSML｜invoke name=\"{{ c.function.name }}\">\n{% for k, v in c.function.arguments.items() %}<｜DSML｜parameter name=\"{{ k }}\" string=\"true\">{{ v }}</｜DSML｜parameter>\n{% endfor %}</｜DSML｜invoke>\n{% endfor %}</｜DSML｜function_calls>",
            &[],
        ),
        way(
            "phi 4",
            "<|tool_call|>[{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"arguments\": @@}{{ ', ' if not loop.last }}{% endfor %}]<|/tool_call|>",
            &[("<|/tool_call|>", CONTROL)],
        ),
        way(
            "granite 3",
            "<|tool_call|>[{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"arguments\": @@}{{ ', ' if not loop.last }}{% endfor %}]",
            &[("<|tool_call|>", CONTROL)],
        ),
        way(
            "command r",
            "Action: ```json\n[\n{% for c in m.tool_calls %}{\"tool_name\": \"{{ c.function.name }}\", \"parameters\": @@}{{ ',\\n' if not loop.last }}{% endfor %}\n]```",
            &[],
        ),
        way(
            "jamba",
            "<tool_calls>[\n{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"arguments\": @@}{{ ',\\n' if not loop.last }}{% endfor %}\n]</tool_calls>",
            &[],
        ),
        way(
            "functionary 3.1",
            "{% for c in m.tool_calls %}<function={{ c.function.name }}>@@</function>{{ '\\n' if not loop.last }}{% endfor %}",
            &[],
        ),
        way(
            "qwen3-coder",
            "{% for c in m.tool_calls %}\n<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}",
            &[("<tool_call>", USER_DEFINED)],
        ),
        way(
            "minimax m2",
            "<minimax:tool_call>\n{% for c in m.tool_calls %}<invoke name=\"{{ c.function.name }}\">\n{% for k, v in c.function.arguments.items() %}<parameter name=\"{{ k }}\">{{ v }}</parameter>\n{% endfor %}</invoke>\n{% endfor %}</minimax:tool_call>",
            &[],
        ),
        way(
            "glm 4.5",
            "{% for c in m.tool_calls %}\n<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments.items() %}<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v }}</arg_value>\n{% endfor %}</tool_call>{% endfor %}",
            &[("</arg_value>", CONTROL)],
        ),
        way("no calls in the template", "", &[]),
    ]
}

/// A template that writes calls so, and begins the assistant's turn with `opening`.
fn template(calls: &str, opening: &str) -> String {
    let calls = calls.replace("@@", ARGUMENTS);
    format!(
        "{{% for m in messages %}}{{{{ m.role }}}}: {{{{ m.content or '' }}}}{{% if m.tool_calls %}}{calls}{{% endif %}}\n{{% endfor %}}\
         {{% if add_generation_prompt %}}assistant: {opening}{{% endif %}}"
    )
}

/// A model of random weights.
fn model(way: &Way) -> (Engine, Vec<u8>) {
    let tokens: Vec<_> = way.tokens.iter().enumerate().map(|(at, (text, kind))| (FIRST + at, *text, *kind)).collect();
    let shape = Shape { layers: 2, context: 900, ..Shape::default() };
    opened(random_model::speaking(shape, &template(way.calls, ""), &tokens))
}

fn opened(file: Vec<u8>) -> (Engine, Vec<u8>) {
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    constrain::give(&mut engine);
    (engine, file)
}

/// What a request came to.
#[derive(Debug, Default, PartialEq)]
struct Told {
    content: String,
    thought: String,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    reason: String,
}

fn ask_tools(engine: &mut Engine, file: &[u8], extra: &Value) -> Result<Told, ChordError> {
    let mut body = json!({"kind": "chat", "messages": [{"role": "user", "content": "hi"}], "tools": tools(), "temperature": 1.2, "top_k": 0,
        "top_p": 1, "min_p": 0, "seed": 1, "max_tokens": 700});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    let mut told = Told::default();
    let answer = ask_with(engine, file, body, |_, event| {
        if let Event::Token { reasoning, calls, .. } | Event::Finish { reasoning, calls, .. } = event {
            told.thought.push_str(reasoning);
            for call in calls {
                if let Some(name) = &call.name {
                    assert_eq!(told.calls.len(), call.index, "calls come in order");
                    told.calls.push((name.clone(), String::new()));
                }
                told.calls[call.index].1.push_str(&call.arguments);
            }
        }
    })?;
    Ok(Told { content: answer.texts.concat(), reason: answer.reasons[0].clone(), ..told })
}

/// Checks every call but, in an answer that was cut, the last; and how many there were.
fn check_calls(told: &Told, tools: &[Value], what: &str) -> usize {
    let is_cut = told.reason == "Length";
    let whole = told.calls.len() - usize::from(is_cut && !told.calls.is_empty());
    for (name, arguments) in &told.calls[..whole] {
        let tool = tools.iter().find(|tool| tool["function"]["name"] == **name);
        let tool = tool.unwrap_or_else(|| panic!("{what}: no tool is called {name}: {told:?}"));
        let mut schema = tool["function"]["parameters"].clone();
        schema.as_object_mut().expect("a schema").shift_remove("x-guidance");
        let schema = &schema;
        let value: Value = match serde_json::from_str(arguments) {
            Err(error) if error.to_string().contains("out of range") => continue,
            read => read.unwrap_or_else(|error| panic!("{what}: {name} {arguments:?}: {error}")),
        };
        assert_eq!(fault(schema, schema, &value), None, "{what}: {name} {arguments}");
    }
    whole
}

#[test]
fn a_model_that_has_to_call_makes_valid_calls() {
    for way in ways() {
        let (mut engine, file) = model(&way);
        let (mut complete, mut several) = (0, 0);
        for seed in 0..8 {
            let temperature = [0.7, 1.2, 2.0][seed % 3];
            let extra = json!({"tool_choice": "required", "seed": seed, "temperature": temperature, "parallel_tool_calls": seed % 4 != 3});
            let told = ask_tools(&mut engine, &file, &extra).expect("an answer");
            let what = format!("{}, seed {seed}", way.name);
            let whole = check_calls(&told, &tools(), &what);
            // What of a call was cut before its arguments began is text.
            let is_silent = told.content.trim().is_empty() || told.reason == "Length";
            assert!(is_silent && told.thought.is_empty(), "{what}: {told:?}");
            assert!(told.reason == "Length" || told.reason == "ToolCalls" && whole > 0, "{what}: {told:?}");
            assert!(seed % 4 != 3 || told.calls.len() <= 1, "{what}: {told:?}");
            complete += usize::from(told.reason == "ToolCalls");
            several += usize::from(told.calls.len() > 1);
        }
        println!("{}: {complete} of 8 complete, {several} with several calls", way.name);
        assert!(complete >= 5, "{}: {complete}", way.name);
        let is_single = ["llama 3", "no calls in the template"].contains(&way.name);
        assert_eq!(several > 0, !is_single, "{}", way.name);
    }
}

#[test]
fn calls_of_strict_tools_are_held_and_text_is_free() {
    let strict: Vec<Value> = tools()
        .into_iter()
        .map(|mut tool| {
            tool["function"]["strict"] = json!(true);
            tool
        })
        .collect();
    for way in ways().into_iter().filter(|way| {
        way.tokens.iter().any(|token| ["<tool_call>", "[TOOL_CALLS]", "<|tool_call|>"].contains(&token.0))
    }) {
        let (mut engine, file) = model(&way);
        let (mut calls, mut texts) = (0, 0);
        // Random weights would hardly ever write the mark.
        let bias = Value::from_iter([(FIRST.to_string(), json!(4.5))]);
        for seed in 0..12 {
            let extra = json!({"tools": strict, "seed": seed, "logit_bias": bias, "max_tokens": 400});
            let told = ask_tools(&mut engine, &file, &extra).expect("an answer");
            let what = format!("{}, seed {seed}", way.name);
            calls += check_calls(&told, &strict, &what);
            texts += usize::from(!told.content.is_empty());
            let once = ask_tools(&mut engine, &file, &json!({"tools": strict, "seed": seed, "logit_bias": bias, "max_tokens": 400, "parallel_tool_calls": false})).expect("an answer");
            check_calls(&once, &strict, &what);
            assert!(
                once.calls.len() <= 1 && once.calls.first().is_none_or(|_| once.reason != "Stop"),
                "{what}: {once:?}"
            );
        }
        println!("{}: {calls} calls, text in {texts} of 12", way.name);
        assert!(calls >= 8 && texts >= 6, "{}: {calls} calls, text in {texts}", way.name);
    }
}

/// A model that recites `pieces` where it may, by a template that writes calls so.
fn reciting(calls: &str, opening: &str, pieces: &[(&str, i32)]) -> (Engine, Vec<u8>) {
    opened(random_model::reciting(&template(calls, &format!("{opening}\n")), pieces))
}

fn strict_city() -> Value {
    let mut parameters = object(json!({"city": {"enum": ["Bern", "Genf"]}}), &["city"]);
    // A model that only recites would write white space for long.
    parameters["x-guidance"] = json!({"whitespace_flexible": false});
    let mut tool = tool("look", &parameters);
    tool["function"]["strict"] = json!(true);
    json!([tool])
}

#[test]
fn a_call_that_nothing_marks_is_held_from_its_arguments_on() {
    let way = &ways()[2];
    let greedy = |pieces: &[(&str, i32)], tools: Value| {
        let (mut engine, file) = reciting(way.calls, "", pieces);
        ask_tools(&mut engine, &file, &json!({"tools": tools, "temperature": 0, "max_tokens": 40})).expect("an answer")
    };
    let pieces = [("{\"name\": \"look\", \"parameters\": {", NORMAL), ("\"town\": 5", NORMAL), ("}}", NORMAL)];
    let told = greedy(&pieces, strict_city());
    check_calls(&told, strict_city().as_array().expect("tools"), "a call");
    assert_eq!((told.calls.len(), told.reason.as_str()), (1, "ToolCalls"), "{told:?}");
    // What names no tool is text, and what is JSON of something else.
    let told = greedy(&[("{\"name\": \"other\", \"parameters\": {", NORMAL), ("}}", NORMAL)], strict_city());
    assert_eq!((told.calls.len(), told.content.as_str()), (0, "{\"name\": \"other\", \"parameters\": {}}"));
    // Without the word nothing is held.
    let mut free = strict_city();
    free[0]["function"]["strict"] = json!(false);
    assert_eq!(greedy(&pieces, free).calls, [("look".to_owned(), "{\"town\": 5}".to_owned())]);
}

#[test]
fn a_token_with_more_than_the_mark_is_taken_only_if_the_call_goes_on_so() {
    let way = &ways()[0];
    for (pieces, begins) in [
        ([("so <tool_call>\n{\"na", NORMAL), ("me\": \"look\", \"arguments\": ", NORMAL)], true),
        ([("so <tool_call>[\"", NORMAL), ("wrong", NORMAL)], false),
        ([("so <tool_call", NORMAL), (">\n{\"name\": \"", NORMAL)], true),
        ([("so <function=", NORMAL), ("look>", NORMAL)], false),
    ] {
        let (mut engine, file) = reciting(way.calls, "", &pieces);
        let extra = json!({"tools": strict_city(), "temperature": 0, "max_tokens": 60, "parallel_tool_calls": false});
        let told = ask_tools(&mut engine, &file, &extra).expect("an answer");
        check_calls(&told, strict_city().as_array().expect("tools"), pieces[0].0);
        assert_eq!(told.calls.len(), usize::from(begins), "{pieces:?}: {told:?}");
        assert!(!begins || told.content == "so" && told.reason == "ToolCalls", "{pieces:?}: {told:?}");
    }
}

#[test]
fn a_model_may_think_before_it_has_to_call() {
    let way = &ways()[0];
    for (opening, first) in [("<think></think><think>", None), ("<think></think>", Some(("<think>", CONTROL)))] {
        let thought = [("hmm <tool_call>", NORMAL), ("</think>", CONTROL), ("\n\nwhatever", NORMAL)];
        let pieces: Vec<_> = first.into_iter().chain(thought).collect();
        let (mut engine, file) = reciting(way.calls, opening, &pieces);
        let extra = json!({"tools": strict_city(), "tool_choice": "required", "temperature": 0, "max_tokens": 80});
        let told = ask_tools(&mut engine, &file, &extra).expect("an answer");
        check_calls(&told, strict_city().as_array().expect("tools"), opening);
        assert_eq!(
            (told.thought.as_str(), told.content.trim(), told.reason.as_str()),
            ("hmm <tool_call>", "", "ToolCalls"),
            "{told:?}"
        );
    }
}

#[test]
fn guesses_change_no_call() {
    for way in &ways()[..2] {
        let (mut engine, file) = model(way);
        for seed in 0..6 {
            let mut ask = |most: u32| {
                let extra = json!({"tool_choice": "required", "seed": seed, "draft_max": most, "max_tokens": 200,
                    "messages": [{"role": "user", "content": "<tool_call>\n{\"name\": \"get\", \"arguments\": {}}\n</tool_call>"}]});
                ask_tools(&mut engine, &file, &extra).expect("an answer")
            };
            assert_eq!(ask(0), ask(7), "{}, seed {seed}", way.name);
        }
    }
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let refused = |way: &Way, extra: Value| {
        let (mut engine, file) = model(way);
        let error = ask_tools(&mut engine, &file, &extra).expect_err("refused");
        assert_eq!(error.code, ErrorCode::InvalidParameter, "{error}");
        let detail = |name: &str| error.details.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (detail("name"), detail("keyword"))
    };
    let with = |schema: Value| json!({"tool_choice": "required", "tools": [tool("f", &schema)]});
    let ways = ways();
    let (hermes, tagged) = (&ways[0], ways.iter().find(|way| way.name == "qwen3-coder").expect("it is there"));
    let pair = |name: &str, keyword: &str| (name.to_owned(), keyword.to_owned());
    assert_eq!(refused(hermes, with(json!({"not": {}}))), pair("tools", "not"));
    assert_eq!(refused(hermes, with(json!({"type": "array"}))), pair("tools", "type"));
    assert_eq!(
        refused(tagged, with(json!({"properties": {"a": {"type": "string", "pattern": "a"}}}))),
        pair("tools", "pattern")
    );
    assert_eq!(refused(tagged, with(json!({"minProperties": 1}))), pair("tools", "minProperties"));
    assert_eq!(refused(tagged, with(json!({"required": ["a"]}))), pair("tools", "required"));
    assert_eq!(refused(hermes, json!({"tool_choice": "required", "tools": []})), pair("tool_choice", ""));
    assert_eq!(refused(hermes, json!({"tool_choice": "required", "ignore_eos": true})), pair("ignore_eos", ""));
    assert_eq!(
        refused(hermes, json!({"tool_choice": "required", "tools": [tool("a b", &json!({}))]})),
        pair("tools", "")
    );
    assert_eq!(refused(hermes, json!({"tool_choice": "sometimes"})), pair("tool_choice", ""));
    // Gemma's are as in a programming language.
    let gemma = Way {
        name: "gemma 4",
        calls: "{% for c in m.tool_calls %}<|tool_call>call:{{ c.function.name }}{place:<|\"|>{{ c.function.arguments.place }}<|\"|>}<tool_call|>{% endfor %}",
        tokens: &[],
    };
    assert_eq!(refused(&gemma, json!({"tool_choice": "required"})), pair("tool_choice", ""));
    // Where it may call, it is free to.
    let (mut engine, file) = model(&gemma);
    ask_tools(&mut engine, &file, &json!({"tools": strict_city(), "max_tokens": 3})).expect("an answer");
}
