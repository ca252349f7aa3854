//! What goes into a template: checks of the messages and their conversion to values.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::guard::{ControlTexts, FreeGuards};
use crate::error::{ChordError, Result};

/// JSON nested deeper than this is refused, because the conversion recurses.
const DEPTH_MAX: usize = 64;

/// Checks the messages and brings their contents to plain strings.
///
/// # Errors
/// `InvalidParameter` whose name is the place, such as `messages[2].content`.
pub(super) fn normalised(messages: &Json) -> Result<Vec<Json>> {
    let messages = messages.as_array().ok_or_else(|| ChordError::parameter("messages", "messages is not a list"))?;
    if messages.is_empty() {
        return Err(ChordError::parameter("messages", "messages is empty"));
    }
    messages.iter().enumerate().map(|(index, message)| normalised_message(index, message)).collect()
}

fn normalised_message(index: usize, message: &Json) -> Result<Json> {
    let refuse = |field: &str, why: &str| {
        let name = format!("messages[{index}]{field}");
        ChordError::parameter(&name, format!("{name} {why}"))
    };
    let message = message.as_object().ok_or_else(|| refuse("", "is not an object"))?;
    let role = message.get("role").and_then(Json::as_str).ok_or_else(|| refuse(".role", "is not a string"))?;
    let content = match message.get("content") {
        Some(Json::String(_)) => return Ok(Json::Object(message.clone())),
        Some(Json::Array(parts)) => Json::String(joined(parts).map_err(|why| refuse(".content", why))?),
        // An assistant that calls tools says nothing itself.
        None | Some(Json::Null) if role == "assistant" => return Ok(Json::Object(message.clone())),
        None | Some(_) => return Err(refuse(".content", "is not a string or a list of parts")),
    };
    let mut message = message.clone();
    message.insert("content".into(), content);
    Ok(Json::Object(message))
}

/// The text of OpenAI's list of parts. Parts are paragraphs of their own, so a line break stands
/// between them.
fn joined(parts: &[Json]) -> std::result::Result<String, &'static str> {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        if part.get("type").and_then(Json::as_str) != Some("text") {
            return Err("has a part that is not of type text");
        }
        let piece = part.get("text").and_then(Json::as_str).ok_or("has a text part without text")?;
        if index > 0 {
            text.push('\n');
        }
        text.push_str(piece);
    }
    Ok(text)
}

/// Facts about the input, gathered before anything is converted.
#[derive(Default)]
pub(super) struct Survey {
    pub guards: FreeGuards,
    /// Number of all values.
    pub values: usize,
    /// Bytes of all strings.
    pub bytes: usize,
    /// True if a control text occurs somewhere.
    pub controls: bool,
}

impl Survey {
    /// Walks a value.
    ///
    /// # Errors
    /// `InvalidParameter` if it is nested too deeply.
    pub fn see(&mut self, name: &str, value: &Json, controls: &ControlTexts) -> Result<()> {
        self.walk(value, controls, 0)
            .map_err(|()| ChordError::parameter(name, format!("{name} is nested deeper than {DEPTH_MAX} levels")))
    }

    fn walk(&mut self, value: &Json, controls: &ControlTexts, depth: usize) -> std::result::Result<(), ()> {
        if depth > DEPTH_MAX {
            return Err(());
        }
        self.values += 1;
        match value {
            Json::String(text) => self.text(text, controls),
            Json::Array(items) => items.iter().try_for_each(|item| self.walk(item, controls, depth + 1))?,
            Json::Object(fields) => {
                for (key, field) in fields {
                    self.text(key, controls);
                    self.walk(field, controls, depth + 1)?;
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str, controls: &ControlTexts) {
        self.bytes += text.len();
        self.guards.see(text);
        self.controls = self.controls || controls.occur_in(text);
    }
}

/// Converts JSON to template values, breaking control texts on the way.
pub(super) struct Converter<'a> {
    pub controls: &'a ControlTexts,
    pub guard: Option<char>,
}

impl Converter<'_> {
    /// Converts a value that a [`Survey`] has seen, and so is not too deep.
    pub fn value(&self, value: &Json) -> Value {
        match value {
            Json::Null => Value::from(()),
            Json::Bool(flag) => Value::from(*flag),
            Json::Number(number) => self.number(number),
            Json::String(text) => Value::from(self.text(text)),
            Json::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Json::Object(fields) => self.object(fields),
        }
    }

    pub fn object(&self, fields: &Map<String, Json>) -> Value {
        Value::from_pairs(fields.iter().map(|(key, field)| (self.text(key), self.value(field))))
    }

    fn number(&self, number: &serde_json::Number) -> Value {
        if let Some(number) = number.as_i64() {
            return Value::from(number);
        }
        match number.as_u64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    fn text(&self, text: &str) -> String {
        let guarded = self.guard.and_then(|guard| self.controls.guarded(text, guard));
        guarded.unwrap_or_else(|| text.to_owned())
    }
}
