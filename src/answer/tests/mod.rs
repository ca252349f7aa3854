//! Answers in the shapes that the makers of models publish, cut in every way.

mod formats;

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;

use self::formats::{Format, formats};

/// The style of a format, from a template that writes calls as the format has them.
fn style_of(format: &Format) -> Arc<Style> {
    let render = |probe: &Probe| {
        let mut prompt = String::new();
        for message in probe.messages.as_array()? {
            prompt.push_str(&format!("[{}]", message["role"].as_str()?));
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                // Templates of these models go through the arguments' fields, and fail where they are text.
                function["arguments"].as_object()?;
                prompt.push_str(&(format.write)(&[(function["name"].as_str()?, function["arguments"].clone())]));
            }
            if message["role"] == "assistant" && message["tool_calls"].is_null() {
                match format.name {
                    "gpt-oss" => prompt.push_str("<|start|>assistant"),
                    "functionary 2" => prompt.push_str("<|recipient|>"),
                    "functionary 3.2" => prompt.push_str(">>>"),
                    _ => {}
                }
                prompt.push_str(format.beside[0]);
            }
            prompt.push_str(message["content"].as_str().unwrap_or_default());
        }
        Some(prompt)
    };
    Arc::new(Style::of(&render, &|_| false))
}

fn tools() -> Tools {
    let properties = json!({"city": {"type": "string"}, "text": {"type": "string"}, "days": {"type": "integer"}, "list": {"type": "array"},
        "place": {"type": "object"}, "yes": {"type": "boolean"}});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}});
    Tools::new(&json!([tool("lookup"), tool("get_weather")]))
}

/// What an answer came to in all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    content: String,
    reasoning: String,
    calls: Vec<(String, Option<String>, String)>,
}

fn read<'a>(plan: &Arc<Plan>, pieces: impl Iterator<Item = &'a str>, is_cut: bool) -> Read {
    let mut reader = Reader::new(plan.clone());
    let mut read = Read::default();
    let mut add = |delta: &mut Delta| {
        read.content.push_str(&delta.content);
        read.reasoning.push_str(&delta.reasoning);
        for call in std::mem::take(delta).calls {
            match call.name {
                Some(name) => {
                    assert_eq!(call.index, read.calls.len(), "calls come in order");
                    read.calls.push((name, call.id, call.arguments));
                }
                None => {
                    assert_eq!(call.index + 1, read.calls.len(), "arguments are those of the last call");
                    read.calls[call.index].2.push_str(&call.arguments);
                }
            }
        }
    };
    let mut delta = Delta::default();
    for piece in pieces {
        reader.push(piece, &mut delta);
        add(&mut delta);
    }
    reader.finish(is_cut, &mut delta);
    add(&mut delta);
    read
}

fn plan_of(style: &Arc<Style>) -> Arc<Plan> {
    Arc::new(Plan { style: style.clone(), tools: tools(), is_thought_open: false, is_single: false })
}

/// Pieces as they come where a token is a byte: whole characters, the first when its last byte is there.
fn by_bytes(text: &str) -> Vec<String> {
    let mut held: Vec<u8> = Vec::new();
    let mut pieces = Vec::new();
    for byte in text.bytes() {
        held.push(byte);
        match std::str::from_utf8(&held) {
            Ok(whole) => {
                pieces.push(whole.to_owned());
                held.clear();
            }
            Err(_) => pieces.push(String::new()),
        }
    }
    pieces
}

/// Reads an answer whole, by character, by byte and in twos and sevens; all must come to the same.
fn read_all_ways(plan: &Arc<Plan>, text: &str, is_cut: bool) -> Read {
    let whole = read(plan, std::iter::once(text), is_cut);
    let chars: Vec<String> = text.chars().map(String::from).collect();
    let groups = |size: usize| chars.chunks(size).map(|group| group.concat()).collect::<Vec<_>>();
    for pieces in [chars.clone(), by_bytes(text), groups(2), groups(7)] {
        assert_eq!(read(plan, pieces.iter().map(String::as_str), is_cut), whole, "in pieces: {text}");
    }
    whole
}

fn check(format: &Format, shape: &str, text: &str, content: &str, calls: &[(&str, Json)]) {
    let read = read_all_ways(&plan_of(&style_of(format)), text, false);
    let named = |(name, _, arguments): &(String, Option<String>, String)| {
        (
            name.clone(),
            serde_json::from_str(arguments).unwrap_or_else(|_| panic!("{}, {shape}: {arguments}", format.name)),
        )
    };
    let expected: Vec<(String, Json)> =
        calls.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.clone())).collect();
    assert_eq!(read.calls.iter().map(named).collect::<Vec<_>>(), expected, "{}, {shape}: {text}", format.name);
    assert_eq!(read.content.trim_end(), content, "{}, {shape}: {text}", format.name);
    assert_eq!(read.reasoning, "", "{}, {shape}", format.name);
}

#[test]
fn calls_are_read_in_every_format_and_shape() {
    for format in &formats() {
        let write = format.write;
        let paris = || ("lookup", json!({"city": "Paris"}));
        let shapes: Vec<(&str, Vec<(&str, Json)>)> = vec![
            ("one call", vec![paris()]),
            ("parallel", vec![paris(), ("get_weather", json!({"city": "Rome", "days": 3})), paris()]),
            ("unicode", vec![("lookup", json!({"city": "Zürich 東京 🦀"}))]),
            (
                "nested objects",
                vec![("lookup", json!({"place": {"at": {"lat": 1.5, "name": "x"}, "ok": true}, "days": -2}))],
            ),
            ("arrays", vec![("lookup", json!({"list": ["a", "b, c", [1, 2], {"k": "v"}], "yes": false}))]),
            ("empty arguments", vec![("lookup", json!({}))]),
            ("marker-like text", vec![("lookup", json!({"text": format!("see {} there", format.marker)})), paris()]),
        ];
        for (shape, calls) in shapes {
            check(format, shape, &write(&calls), "", &calls);
        }
        let quotes = "a \"quoted\" word, it's a \\ and } ] ) , :\nnext = line";
        let calls = [("lookup", json!({"text": quotes, "days": 1}))];
        check(format, "escapes and quotes", &write(&calls), "", &calls);
        let [before, after] = format.beside;
        let gap = if before.is_empty() { "\n" } else { "" };
        let start = if format.name == "gpt-oss" { "<|start|>assistant" } else { "" };
        let spoken = format!("{before}Let me look.{after}{start}{gap}{}", write(&[paris()]));
        check(format, "text before", &spoken, "Let me look.", &[paris()]);
        let behind = match format.name {
            "functionary 2" => "\n<|from|>assistant\n<|recipient|>",
            "functionary 3.2" => ">>>",
            _ => start,
        };
        let spoken = format!("{}{behind}{gap}{before}That is all.", write(&[paris()]));
        check(format, "text after", &spoken, "That is all.", &[paris()]);
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_is_the_beginning_of_the_whole() {
    for format in &formats() {
        let calls = [("lookup", json!({"city": "Zürich", "days": 3})), ("get_weather", json!({"text": "a \"b\""}))];
        let text = (format.write)(&calls);
        let plan = plan_of(&style_of(format));
        let whole = read(&plan, std::iter::once(text.as_str()), false);
        for cut in (0..text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            let read = read_all_ways(&plan, &text[..cut], true);
            assert!(read.calls.len() <= whole.calls.len(), "{} at {cut}", format.name);
            for (part, all) in read.calls.iter().zip(&whole.calls) {
                assert_eq!(part.0, all.0, "{} at {cut}", format.name);
                assert!(
                    part.2.is_empty() || all.2.starts_with(&part.2) || part.2.starts_with('{'),
                    "{} at {cut}: {}",
                    format.name,
                    part.2
                );
            }
        }
    }
}

#[test]
fn what_is_no_call_is_content() {
    for format in &formats() {
        let text = (format.write)(&[("lookup", json!({"city": "Paris"}))]);
        let broken = match format.name {
            "gpt-oss" | "functionary 2" | "functionary 3.2" => text.replace('{', "no JSON "),
            _ if text.contains("name\":\"lookup\"") => text.replace("name\":\"lookup\"", "name\":lookup"),
            _ => text.replace("lookup", "look up!"),
        };
        assert_ne!(broken, text);
        let read = read_all_ways(&plan_of(&style_of(format)), &broken, false);
        assert_eq!(read.calls, [], "{}: {broken}", format.name);
        match format.name {
            "gpt-oss" | "functionary 2" | "functionary 3.2" => {
                assert!(read.content.starts_with("no JSON "), "{}", read.content)
            }
            _ => assert_eq!(read.content, broken, "{}", format.name),
        }
    }
}

#[test]
fn broken_arguments_are_passed_on_as_they_are() {
    let hermes = &formats()[0];
    let text = "<tool_call>\n{\"name\": \"lookup\", \"arguments\": {\"city\": Paris}}\n</tool_call>\nDone.";
    let read = read_all_ways(&plan_of(&style_of(hermes)), text, false);
    assert_eq!(read.calls, [("lookup".into(), None, "{\"city\": Paris}}".into())]);
    assert_eq!(read.content, "Done.");
}

#[test]
fn a_call_that_lacks_its_end_is_one() {
    let hermes = &formats()[0];
    for text in [
        "<tool_call>\n{\"name\": \"lookup\", \"arguments\": {\"days\": 1}}",
        "<tool_call>{\"name\":\"lookup\",\"arguments\":{\"days\": 1}</tool_call>",
    ] {
        let read = read_all_ways(&plan_of(&style_of(hermes)), text, false);
        assert_eq!(read.calls, [("lookup".into(), None, "{\"days\": 1}".into())], "{text}");
        assert_eq!(read.content, "", "{text}");
    }
}

#[test]
fn arguments_may_be_written_as_a_text_or_before_the_name() {
    let hermes = &formats()[0];
    let cases = [
        "<tool_call>{\"name\":\"lookup\",\"arguments\":\"{\\\"days\\\": 1}\"}</tool_call>",
        "<tool_call>{\"arguments\":{\"days\": 1},\"name\":\"lookup\"}</tool_call>",
        "<tool_call>{\"type\":\"function\",\"function\":{\"name\":\"lookup\",\"arguments\":{\"days\": 1}}}</tool_call>",
    ];
    for text in cases {
        let read = read_all_ways(&plan_of(&style_of(hermes)), text, false);
        assert_eq!(read.calls, [("lookup".into(), None, "{\"days\": 1}".into())], "{text}");
    }
}

#[test]
fn ids_that_models_give_are_kept() {
    let all = formats();
    for (name, id) in [("mistral ids", "123456789"), ("kimi k2", "functions.lookup:0")] {
        let format = all.iter().find(|format| format.name == name).expect("a format");
        let read = read_all_ways(&plan_of(&style_of(format)), &(format.write)(&[("lookup", json!({}))]), false);
        assert_eq!(read.calls[0].1.as_deref(), Some(id));
    }
}

#[test]
fn ordinary_answers_are_content_to_the_letter() {
    let texts = [
        "Hello, world.\n",
        " \n ",
        "",
        "if a < b and b > c: print('<b>')",
        "{\"city\": \"Paris\", \"list\": [1, {\"name\": 5}]}",
        "[1, 2, 3]",
        "```json\n{\"a\": 1}\n```\n",
        "Take this:\n{\"name\": \"unknown\", \"arguments\": {}}",
        "Use [TOOL_ and <tool_ and <thi",
        "a\n\n\n\nb   \n",
        "{\"name\": \"lookup\"",
        "  {",
        "<",
        "text <",
    ];
    for format in formats().iter().filter(|format| format.beside[0].is_empty()) {
        for text in texts {
            let read = read_all_ways(&plan_of(&style_of(format)), text, false);
            assert_eq!(read, Read { content: text.to_owned(), ..Read::default() }, "{}", format.name);
        }
    }
    let no_tools = Arc::new(Plan {
        style: style_of(&formats()[0]),
        tools: Tools::default(),
        is_thought_open: false,
        is_single: false,
    });
    let text = "<tool_call>{\"name\": \"lookup\", \"arguments\": {}}</tool_call>";
    assert_eq!(read_all_ways(&no_tools, text, false).content, text, "without tools nothing is a call");
}

#[test]
fn one_call_is_enough_where_one_is_wanted() {
    for format in &formats() {
        let plan = Plan { style: style_of(format), tools: tools(), is_thought_open: false, is_single: true };
        let mut reader = Reader::new(Arc::new(plan));
        let text = (format.write)(&[("lookup", json!({"days": 1})), ("lookup", json!({"days": 2}))]);
        let mut delta = Delta::default();
        let ended = text.chars().position(|char| reader.push(&char.to_string(), &mut delta));
        assert!(ended.is_some_and(|ended| ended < text.chars().count()), "{}", format.name);
        reader.finish(false, &mut delta);
        assert_eq!(delta.calls.iter().filter(|call| call.name.is_some()).count(), 1, "{}", format.name);
        assert_eq!(
            delta.calls.iter().map(|call| call.arguments.as_str()).collect::<String>().replace(' ', ""),
            "{\"days\":1}",
            "{}",
            format.name
        );
    }
}

fn thinking(open: &'static str) -> Arc<Style> {
    Arc::new(Style { thought: style::THOUGHTS.iter().find(|thought| thought.open == open), ..Style::default() })
}

#[test]
fn reasoning_stands_apart() {
    let plan = |style: &Arc<Style>, is_thought_open| {
        Arc::new(Plan { style: style.clone(), tools: Tools::default(), is_thought_open, is_single: false })
    };
    for (open, close) in style::THOUGHTS.iter().map(|thought| (thought.open, thought.close)) {
        let style = thinking(open);
        let cases = [
            (false, format!("{open}\nFirst.\n\nThen <b> \n{close}\n\nHello"), "First.\n\nThen <b>", "Hello"),
            (false, format!("\n{open}a{close}b"), "a", "b"),
            (false, "Hello <t".to_owned(), "", "Hello <t"),
            (false, format!("Hello {open}x{close}"), "", &format!("Hello {open}x{close}")[..]),
            (true, format!("First.\n{close}\n\nHello"), "First.", "Hello"),
            (true, format!("{open}\nFirst.\n{close}Hello\n"), "First.", "Hello\n"),
            (true, "Not ended ".to_owned(), "Not ended ", ""),
            (false, format!("{open}Not ended"), "Not ended", ""),
            (false, format!("{open}\n\n{close}\n\nHello"), "", "Hello"),
            (false, format!("{open}a</{close}b"), "a</", "b"),
        ];
        for (is_open, text, reasoning, content) in cases {
            let read = read_all_ways(&plan(&style, is_open), &text, true);
            assert_eq!((read.reasoning.as_str(), read.content.as_str()), (reasoning, content), "{text}");
        }
    }
}

#[test]
fn reasoning_comes_before_calls() {
    let hermes = style_of(&formats()[0]);
    let style =
        Arc::new(Style { thought: Some(&style::THOUGHTS[0]), sections: hermes.sections.clone(), ..Style::default() });
    let text = "<think>\nI call <tool_call> now.\n</think>\n\n<tool_call>\n{\"name\": \"lookup\", \"arguments\": {}}\n</tool_call>";
    let read = read_all_ways(&plan_of(&style), text, false);
    let calls = vec![("lookup".to_owned(), None, "{}".to_owned())];
    assert_eq!(read, Read { content: String::new(), reasoning: "I call <tool_call> now.".into(), calls });
}

#[test]
fn channels_of_gpt_oss_stand_apart() {
    let style = style_of(formats().iter().find(|format| format.name == "gpt-oss").expect("a format"));
    assert!(style.thinks());
    let text = "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>\
                <|start|>assistant<|channel|>commentary to=functions.lookup <|constrain|>json<|message|>{\"days\":1}<|call|>";
    let read = read_all_ways(&plan_of(&style), text, false);
    let calls = vec![("lookup".to_owned(), None, "{\"days\":1}".to_owned())];
    assert_eq!(read, Read { content: "I look.".into(), reasoning: "They ask.".into(), calls });
    let text =
        "<|channel|>analysis<|message|>Short.<|end|><|start|>assistant<|channel|>final<|message|>Hello\n<|return|>";
    assert_eq!(read_all_ways(&plan_of(&style), text, false).content, "Hello");
    assert_eq!(read_all_ways(&plan_of(&style), "Hello without a channel", false).content, "Hello without a channel");
    let cut = read_all_ways(&plan_of(&style), "<|channel|>analysis<|message|>Not ended", true);
    assert_eq!((cut.reasoning.as_str(), cut.content.as_str()), ("Not ended", ""));
    let to_first = "<|start|>assistant to=functions.lookup<|channel|>commentary json<|message|>{}";
    assert_eq!(read_all_ways(&plan_of(&style), to_first, false).calls, [("lookup".into(), None, "{}".into())]);
}

#[test]
fn control_tokens_are_read_but_never_shown() {
    let style = style_of(formats().iter().find(|format| format.name == "phi 4").expect("a format"));
    let mut reader = Reader::new(plan_of(&style));
    assert!(reader.reads("<|tool_call|>") && reader.reads("<|/tool_call|>"));
    assert!(!reader.reads("<|other|>") && !reader.reads(""));
    let mut delta = Delta::default();
    for piece in ["One <|/tool_call|>two ", "<|tool_call|>", "no call", "<|/tool_call|>", " three"] {
        reader.push(piece, &mut delta);
    }
    reader.finish(false, &mut delta);
    assert_eq!(delta.content.replace("  ", " "), "One two no call three");
    assert_eq!(delta.calls, []);
}

#[test]
fn long_answers_take_linear_time() {
    // With quadratic work this would take minutes.
    let plan = plan_of(&style_of(&formats()[0]));
    let long = "x ".repeat(200_000);
    let spaces = " ".repeat(200_000);
    let call = format!("<tool_call>{{\"name\":\"lookup\",\"arguments\":{{\"text\":\"{long}\"}}}}</tool_call>");
    for text in [&long, &spaces, &call] {
        let chars: Vec<String> = text.chars().map(String::from).collect();
        let read = read(&plan, chars.iter().map(String::as_str), false);
        assert!(read.content.len() + read.calls.iter().map(|call| call.2.len()).sum::<usize>() >= 200_000);
    }
}
