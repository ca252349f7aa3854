//! What goes into a template: checks of the messages and their conversion to values.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::guard::{ControlTexts, FreeGuards};
use super::shape::Shape;
use crate::error::{ChordError, Result};

/// JSON nested deeper than this is refused, because the conversion recurses.
const DEPTH_MAX: usize = 64;

/// Checks the messages, leaves out what counts as absent, and gives contents and arguments the
/// shapes that the template takes.
///
/// # Errors
/// `InvalidParameter` whose name is the place, such as `messages[2].content`.
pub(super) fn normalised(messages: &Json, shape: impl FnOnce() -> Shape) -> Result<Vec<Json>> {
    let messages = messages.as_array().ok_or_else(|| ChordError::parameter("messages", "messages is not a list"))?;
    if messages.is_empty() {
        return Err(ChordError::parameter("messages", "messages is empty"));
    }
    let mut checked = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        checked.push(checked_message(index, message)?);
    }
    shape().apply(&mut checked);
    Ok(checked.into_iter().map(Json::Object).collect())
}

fn checked_message(index: usize, message: &Json) -> Result<Map<String, Json>> {
    let refuse = |field: &str, why: &str| {
        let name = format!("messages[{index}]{field}");
        ChordError::parameter(&name, format!("{name} {why}"))
    };
    let mut message = message.as_object().ok_or_else(|| refuse("", "is not an object"))?.clone();
    let role = message.get("role").and_then(Json::as_str).ok_or_else(|| refuse(".role", "is not a string"))?;
    match message.get("content") {
        Some(Json::String(_)) => {}
        Some(Json::Array(parts)) => check_parts(parts).map_err(|why| refuse(".content", why))?,
        // An assistant that calls tools says nothing itself.
        None | Some(Json::Null) if role == "assistant" => {}
        None | Some(_) => return Err(refuse(".content", "is not a string or a list of parts")),
    }
    // What OpenAI's clients write for nothing is nothing. Only a content of null is kept, because
    // templates ask for it.
    message.retain(|name, field| {
        let is_empty = name == "tool_calls" && field.as_array().is_some_and(Vec::is_empty);
        name == "content" || !(field.is_null() || is_empty)
    });
    for call in message.get_mut("tool_calls").and_then(Json::as_array_mut).into_iter().flatten() {
        let function = call.as_object_mut().map(|call| {
            call.retain(|_, field| !field.is_null());
            call.get_mut("function").and_then(Json::as_object_mut)
        });
        function.flatten().into_iter().for_each(|function| function.retain(|_, field| !field.is_null()));
    }
    Ok(message)
}

fn check_parts(parts: &[Json]) -> std::result::Result<(), &'static str> {
    for part in parts {
        if part.get("type").and_then(Json::as_str) != Some("text") {
            return Err("has a part that is not of type text");
        }
        part.get("text").and_then(Json::as_str).ok_or("has a text part without text")?;
    }
    Ok(())
}

/// The text of a content: parts follow each other without a gap, as templates join them.
pub fn text_of(content: &Json) -> String {
    match content {
        Json::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => content.as_str().unwrap_or_default().to_owned(),
    }
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
