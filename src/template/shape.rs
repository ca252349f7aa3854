//! What a template takes: contents as text or as OpenAI's list of parts, arguments of tool calls as
//! objects or as JSON text. It is found out by rendering small conversations once.

use serde_json::{Map, Value as Json, json};

use super::input::text_of;

/// A text that no template contains.
const MARK: &str = "qzj4mark7";

/// The shapes that a template takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    user: Content,
    assistant: Content,
    system: Content,
    /// True if arguments must be objects: as text they come out escaped, or fail.
    objects: bool,
    /// True if a prompt shows what the user says, in one shape or the other.
    pub shows_user: bool,
}

/// The shapes of a role's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    /// None was found to be shown.
    #[default]
    Unknown,
    Either,
    Text,
    Parts,
}

impl Shape {
    /// Finds out what a template takes. `render` gives the prompt of messages, if there is one.
    pub fn of(render: impl Fn(&Json) -> Option<String>) -> Shape {
        let user = json!({"role": "user", "content": "hello"});
        let content = |role: &str, before: &[&Json], after: &[&Json]| {
            let shown = |content: Json| {
                let message = json!({"role": role, "content": content});
                let all: Vec<&Json> = before.iter().copied().chain([&message]).chain(after.iter().copied()).collect();
                // A list that is printed as it is shows its keys.
                render(&json!(all)).is_some_and(|prompt| prompt.contains(MARK) && !shows_keys(&prompt))
            };
            match (shown(json!(MARK)), shown(json!([{"type": "text", "text": MARK}]))) {
                (true, false) => Content::Text,
                (false, true) => Content::Parts,
                (true, true) => Content::Either,
                (false, false) => Content::Unknown,
            }
        };
        let user_content = content("user", &[], &[]);
        let hello = if user_content == Content::Parts {
            json!({"role": "user", "content": [{"type": "text", "text": "hello"}]})
        } else {
            user
        };
        Shape {
            user: user_content,
            assistant: content("assistant", &[&hello], &[]),
            system: content("system", &[], &[&hello]),
            objects: wants_objects(&hello, render),
            shows_user: user_content != Content::Unknown,
        }
    }

    fn content(&self, role: Option<&str>) -> Content {
        match role {
            Some("user") => self.user,
            Some("assistant") => self.assistant,
            Some("system" | "developer") => self.system,
            // Results of tools are text, whatever the template takes from people.
            _ => Content::Text,
        }
    }

    /// The messages with text for the parts that the template may take as text, or for all.
    pub fn joined(&self, messages: &[Json], all: bool) -> Vec<Json> {
        let mut messages = messages.to_vec();
        for message in &mut messages {
            let takes_text = self.content(message["role"].as_str()) != Content::Parts;
            if let Some(content) = message.get_mut("content").filter(|given| given.is_array() && (all || takes_text)) {
                *content = Json::String(text_of(content));
            }
        }
        messages
    }

    /// Gives checked messages the shapes of the template. Where one role's parts become text, so
    /// do those of the roles that may have either: the conversation is one of texts then.
    pub fn apply(&self, messages: &mut [Map<String, Json>]) {
        let role = |message: &Map<String, Json>| self.content(message.get("role").and_then(Json::as_str));
        let has_parts = |message: &Map<String, Json>| message.get("content").is_some_and(Json::is_array);
        let joins = messages.iter().any(|message| role(message) == Content::Text && has_parts(message));
        for message in messages {
            let takes = role(message);
            if let Some(given) = message.get_mut("content") {
                match (takes, &*given) {
                    (Content::Parts, Json::String(text)) => *given = json!([{"type": "text", "text": text}]),
                    (Content::Text, Json::Array(_)) => *given = Json::String(text_of(given)),
                    (Content::Either, Json::Array(_)) if joins => *given = Json::String(text_of(given)),
                    _ => {}
                }
            }
            if self.objects {
                for call in message.get_mut("tool_calls").and_then(Json::as_array_mut).into_iter().flatten() {
                    parse_arguments(call);
                }
            }
        }
    }
}

/// True if a list of parts was printed rather than read: the mark stands behind its key.
fn shows_keys(prompt: &str) -> bool {
    ["'text': '", "\"text\": \"", "\"text\":\""].iter().any(|key| prompt.contains(&format!("{key}{MARK}")))
}

/// True if the prompt shows a list of parts as it is printed, and the messages do not say that text.
pub(super) fn prints_parts(messages: &[Json], prompt: &str) -> bool {
    let said = |printed: &str| {
        let contents = messages.iter().filter_map(|message| message.get("content"));
        contents.map(text_of).any(|text| text.contains(printed))
    };
    let printed = ["[{'type': 'text'", "[{\"type\": \"text\""];
    printed.into_iter().any(|printed| prompt.contains(printed) && !said(printed))
}

/// Compares what a template makes of a call whose arguments are an object and JSON text.
fn wants_objects(user: &Json, render: impl Fn(&Json) -> Option<String>) -> bool {
    let shown = |arguments: Json, content: Json| {
        let function = json!({"name": "lookup", "arguments": arguments});
        let call = json!({"id": "abcdef123", "type": "function", "function": function});
        let result = json!({"role": "tool", "tool_call_id": "abcdef123", "name": "lookup", "content": "done"});
        let said = json!({"role": "assistant", "content": content, "tool_calls": [call]});
        [json!([user, said, result]), json!([user, said])].iter().find_map(&render)
    };
    let either = |arguments: Json| shown(arguments.clone(), json!("")).or_else(|| shown(arguments, Json::Null));
    let (object, text) = (either(json!({"place": MARK})), either(json!(format!("{{\"place\": \"{MARK}\"}}"))));
    let printed = |prompt: &str| prompt.contains(&format!("{{'place': '{MARK}'}}"));
    let escaped = |prompt: &str| prompt.contains("\\\"place\\\"") || !prompt.contains(MARK);
    match (object, text) {
        (Some(object), _) if printed(&object) || !object.contains(MARK) => false,
        (Some(_), None) => true,
        (Some(_), Some(text)) => escaped(&text),
        (None, _) => false,
    }
}

/// Makes an object of arguments that are the JSON text of one. No text means no arguments.
fn parse_arguments(call: &mut Json) {
    let holder = if call.get("function").is_some() { call.get_mut("function") } else { Some(call) };
    let Some(arguments) = holder.and_then(|holder| holder.get_mut("arguments")) else { return };
    let Some(text) = arguments.as_str() else { return };
    let parsed = if text.trim().is_empty() { Some(json!({})) } else { serde_json::from_str(text).ok() };
    if let Some(object @ Json::Object(_)) = parsed {
        *arguments = object;
    }
}
