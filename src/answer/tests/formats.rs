//! The formats in which models call tools, written as their makers publish them.

use serde_json::{Value as Json, json};

/// A format: what a model writes that calls these tools with these arguments.
pub struct Format {
    pub name: &'static str,
    pub write: fn(&[(&str, Json)]) -> String,
    /// What stands around text beside calls.
    pub beside: [&'static str; 2],
    /// What a text within arguments may look like.
    pub marker: &'static str,
}

fn each(calls: &[(&str, Json)], write: impl Fn(&str, &Json) -> String, between: &str) -> String {
    calls.iter().map(|(name, arguments)| write(name, arguments)).collect::<Vec<_>>().join(between)
}

/// An object as Python writes it down.
fn python(value: &Json) -> String {
    match value {
        Json::Bool(true) => "True".into(),
        Json::Bool(false) => "False".into(),
        Json::Null => "None".into(),
        Json::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Json::Object(fields) => {
            format!(
                "{{{}}}",
                fields.iter().map(|(key, value)| format!("'{key}': {}", python(value))).collect::<Vec<_>>().join(", ")
            )
        }
        Json::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
        Json::Number(number) => number.to_string(),
    }
}

fn python_call(name: &str, arguments: &Json) -> String {
    let fields = arguments.as_object().expect("arguments").iter();
    format!("{name}({})", fields.map(|(key, value)| format!("{key}={}", python(value))).collect::<Vec<_>>().join(", "))
}

fn gemma(value: &Json, quote: &str) -> String {
    match value {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(|item| gemma(item, quote)).collect::<Vec<_>>().join(","))
        }
        Json::Object(fields) => {
            format!(
                "{{{}}}",
                fields
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", gemma(value, quote)))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        Json::String(text) => format!("{quote}{text}{quote}"),
        other => other.to_string(),
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn fields(arguments: &Json, write: impl Fn(&str, &str) -> String) -> String {
    arguments.as_object().expect("arguments").iter().map(|(key, value)| write(key, &plain(value))).collect()
}

fn object(name: &str, arguments: &Json) -> String {
    json!({"name": name, "arguments": arguments}).to_string()
}

/// Every format.
pub fn formats() -> Vec<Format> {
    let plain = |name, write, marker| Format { name, write, beside: ["", ""], marker };
    vec![
        plain(
            "hermes",
            |calls| each(calls, |name, a| format!("<tool_call>\n{}\n</tool_call>", object(name, a)), "\n"),
            "</tool_call>",
        ),
        plain(
            "qwen3-coder",
            |calls| {
                each(
                    calls,
                    |name, a| {
                        let fields = fields(a, |key, value| format!("<parameter={key}>\n{value}\n</parameter>\n"));
                        format!("<tool_call>\n<function={name}>\n{fields}</function>\n</tool_call>")
                    },
                    "\n",
                )
            },
            "</tool_call>",
        ),
        plain(
            "llama 3 bare",
            |calls| each(calls, |name, a| json!({"name": name, "parameters": a}).to_string(), "; "),
            "{\"name\": \"lookup\"}",
        ),
        plain(
            "llama 3 tagged",
            |calls| {
                format!(
                    "<|python_tag|>{}",
                    each(calls, |name, a| json!({"name": name, "parameters": a}).to_string(), "; ")
                )
            },
            "<|python_tag|>",
        ),
        plain(
            "mistral lists",
            |calls| {
                format!(
                    "[TOOL_CALLS] [{}]",
                    each(calls, |name, a| json!({"name": name, "arguments": a, "id": "abcdef123"}).to_string(), ", ")
                )
            },
            "[TOOL_CALLS]",
        ),
        plain(
            "mistral names",
            |calls| each(calls, |name, a| format!("[TOOL_CALLS]{name}[ARGS]{a}"), ""),
            "[TOOL_CALLS]x[ARGS]",
        ),
        plain(
            "mistral ids",
            |calls| each(calls, |name, a| format!("[TOOL_CALLS]{name}[CALL_ID]123456789[ARGS]{a}"), ""),
            "[ARGS]",
        ),
        plain(
            "gemma 4",
            |calls| each(calls, |name, a| format!("<|tool_call>call:{name}{}<tool_call|>", gemma(a, "<|\"|>")), ""),
            "<tool_call|>}",
        ),
        plain(
            "gemma functions",
            |calls| {
                each(
                    calls,
                    |name, a| format!("<start_function_call>call:{name}{}<end_function_call>", gemma(a, "<escape>")),
                    "",
                )
            },
            "<end_function_call>}",
        ),
        plain(
            "deepseek 3",
            |calls| {
                let calls = each(
                    calls,
                    |name, a| {
                        format!(
                            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{a}\n```<｜tool▁call▁end｜>"
                        )
                    },
                    "\n",
                );
                format!("<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>")
            },
            "<｜tool▁call▁end｜>",
        ),
        plain(
            "deepseek 3.1",
            |calls| {
                let calls = each(
                    calls,
                    |name, a| format!("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{a}<｜tool▁call▁end｜>"),
                    "",
                );
                format!("<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>")
            },
            "<｜tool▁calls▁end｜>",
        ),
        plain(
            "deepseek 3.2",
            |calls| {
                let call = |name: &str, a: &Json| {
                    let fields = a.as_object().expect("arguments").iter().map(|(key, value)| {
                        let text = value.is_string();
                        format!(
                            "<｜DSML｜parameter name=\"{key}\" string=\"{text}\">{}</｜DSML｜parameter>\n",
                            self::plain(value)
                        )
                    });
                    format!("<｜DSML｜invoke name=\"{name}\">\n{}</｜DSML｜invoke>\n", fields.collect::<String>())
                };
                format!("<｜DSML｜function_calls>\n{}</｜DSML｜function_calls>", each(calls, call, ""))
            },
            "</｜DSML｜invoke>",
        ),
        plain("granite 3", |calls| format!("<|tool_call|>[{}]", each(calls, object, ", ")), "<|tool_call|>"),
        plain("phi 4", |calls| format!("<|tool_call|>[{}]<|/tool_call|>", each(calls, object, ", ")), "<|/tool_call|>"),
        plain(
            "lfm2",
            |calls| format!("<|tool_call_start|>[{}]<|tool_call_end|>", each(calls, python_call, ", ")),
            ")]<|tool_call_end|>",
        ),
        plain(
            "minicpm",
            |calls| {
                format!("<|tool_call_start|>\n```python\n{}\n```\n<|tool_call_end|>\n", each(calls, python_call, "\n"))
            },
            "```",
        ),
        Format {
            name: "gpt-oss",
            write: |calls| {
                each(
                    calls,
                    |name, a| {
                        format!("<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{a}<|call|>")
                    },
                    "<|start|>assistant",
                )
            },
            beside: ["<|channel|>final<|message|>", "<|end|>"],
            marker: "to=functions.x",
        },
        Format {
            name: "functionary 2",
            write: |calls| {
                each(calls, |name, a| format!("{name}\n<|content|>{a}"), "\n<|from|>assistant\n<|recipient|>")
            },
            beside: ["all\n<|content|>", "\n<|from|>assistant\n<|recipient|>"],
            marker: "<|from|>",
        },
        plain(
            "functionary 3.1",
            |calls| each(calls, |name, a| format!("<function={name}>{a}</function>"), "\n"),
            "</function>",
        ),
        Format {
            name: "functionary 3.2",
            write: |calls| each(calls, |name, a| format!("{name}\n{a}"), ">>>"),
            beside: ["all\n", ">>>"],
            marker: ">>>all\n",
        },
        plain(
            "command r",
            |calls| {
                format!(
                    "Action: ```json\n[\n{}\n]```",
                    each(calls, |name, a| json!({"tool_name": name, "parameters": a}).to_string(), ",\n")
                )
            },
            "]```",
        ),
        plain(
            "command a",
            |calls| {
                let call =
                    |name: &str, a: &Json| json!({"tool_call_id": "0", "tool_name": name, "parameters": a}).to_string();
                format!("<|START_ACTION|>[\n    {}\n]<|END_ACTION|>", each(calls, call, ",\n    "))
            },
            "<|END_ACTION|>",
        ),
        plain(
            "glm 4.5",
            |calls| {
                let call = |name: &str, a: &Json| {
                    let fields =
                        fields(a, |key, value| format!("<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"));
                    format!("<tool_call>{name}\n{fields}</tool_call>")
                };
                each(calls, call, "\n")
            },
            "</tool_call>",
        ),
        plain(
            "kimi k2",
            |calls| {
                let call = |name: &str, a: &Json| {
                    format!("<|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{a}<|tool_call_end|>")
                };
                format!("<|tool_calls_section_begin|>{}<|tool_calls_section_end|>", each(calls, call, ""))
            },
            "<|tool_call_end|>",
        ),
        plain(
            "minimax m2",
            |calls| {
                let call = |name: &str, a: &Json| {
                    let fields = fields(a, |key, value| format!("<parameter name=\"{key}\">{value}</parameter>\n"));
                    format!("<invoke name=\"{name}\">\n{fields}</invoke>")
                };
                format!("<minimax:tool_call>\n{}\n</minimax:tool_call>", each(calls, call, "\n"))
            },
            "</invoke>",
        ),
        plain(
            "jamba",
            |calls| format!("<tool_calls>[\n{}\n]</tool_calls>", each(calls, object, ",\n")),
            "]</tool_calls>",
        ),
        plain("json in a fence", |calls| format!("```json\n[{}]\n```", each(calls, object, ", ")), "```"),
    ]
}
