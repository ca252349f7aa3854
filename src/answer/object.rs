//! A call that is written as a JSON object, with its name and arguments among the fields.

use super::Delta;
use super::json::{Json, push_mended};
use super::tools::Tools;

/// What a step came to.
pub enum Step {
    /// All of the text was read.
    Read,
    /// So many bytes were read, and the call has ended.
    Ended(usize),
    /// So many bytes were read, and what follows is not JSON, though the arguments have begun.
    Broken(usize),
    /// It is no call.
    Failed,
}

/// What a field of the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Id,
    Arguments,
    /// Of no interest.
    Other,
}

/// Reads the object.
#[derive(Clone)]
pub struct CallObject {
    json: Json,
    /// The depth at which the fields of the call are.
    fields: usize,
    key: String,
    /// The field whose value is read, and the value.
    field: Option<Field>,
    value: String,
    name: Option<String>,
    id: Option<String>,
    /// Arguments that were read before the name.
    arguments: Option<String>,
    /// The place of the call, once it has begun.
    index: Option<usize>,
    /// Arguments are passed on as they come.
    is_streaming: bool,
}

impl CallObject {
    /// Awaits an object.
    pub fn new() -> CallObject {
        CallObject {
            json: Json::new(),
            fields: 1,
            key: String::new(),
            field: None,
            value: String::new(),
            name: None,
            id: None,
            arguments: None,
            index: None,
            is_streaming: false,
        }
    }

    /// Whether the call has begun.
    pub fn is_begun(&self) -> bool {
        self.index.is_some()
    }

    /// Reads a bit. `begun` counts the calls that have begun; a call that nothing marks must name a tool.
    pub fn step(&mut self, text: &str, is_bare: bool, begun: &mut usize, tools: &Tools, out: &mut Delta) -> Step {
        for (at, char) in text.char_indices() {
            if self.take(char, is_bare, begun, tools, out).is_none() {
                return match self.index {
                    Some(_) if self.is_streaming => Step::Broken(at),
                    // The arguments were whole: something is missing behind them.
                    Some(_) => Step::Ended(at),
                    None => Step::Failed,
                };
            }
            if self.json.is_whole() {
                return Step::Ended(at + char.len_utf8());
            }
        }
        Step::Read
    }

    fn take(&mut self, char: char, is_bare: bool, begun: &mut usize, tools: &Tools, out: &mut Delta) -> Option<()> {
        let (depth, is_in_text, was_in_key) = (self.json.depth(), self.json.is_in_text(), self.json.is_in_key());
        let seen = self.json.take(char)?;
        if seen.ended_before && depth == self.fields {
            self.ends(is_bare, begun, tools, out)?;
        }
        if depth == self.fields && self.json.is_in_key() {
            // The quote that opens the key is not a part of it.
            if was_in_key { self.key.push(char) } else { self.key.clear() }
        }
        if seen.starts && depth == self.fields {
            self.starts(char, is_bare, begun, tools, out)?;
        }
        if self.is_streaming {
            let mut mended = String::new();
            push_mended(&mut mended, char, is_in_text);
            out.argue(self.index?, &mended);
        } else if self.field.is_some() {
            push_mended(&mut self.value, char, is_in_text);
        }
        if seen.ends && self.json.depth() == self.fields {
            self.ends(is_bare, begun, tools, out)?;
        }
        if self.json.is_whole() && self.index.is_none() {
            let arguments = self.arguments.take().unwrap_or_else(|| "{}".to_owned());
            let index = self.begin(is_bare, begun, tools, out)?;
            out.argue(index, &arguments);
        }
        Some(())
    }

    /// The value of a field begins.
    fn starts(&mut self, char: char, is_bare: bool, begun: &mut usize, tools: &Tools, out: &mut Delta) -> Option<()> {
        let field = match self.key.as_str() {
            "name" | "tool_name" => Field::Name,
            "function" if char == '"' => Field::Name,
            "function" if char == '{' => {
                // OpenAI's own shape has the fields within.
                self.fields += 1;
                return Some(());
            }
            "arguments" | "parameters" | "args" => Field::Arguments,
            "id" => Field::Id,
            "type" | "tool_call_id" => Field::Other,
            _ if is_bare => return None,
            _ => Field::Other,
        };
        // Only what is no text, and comes behind the name, can be passed on as it is.
        if field == Field::Arguments && self.name.is_some() && self.index.is_none() && matches!(char, '{' | '[') {
            self.begin(is_bare, begun, tools, out)?;
            self.is_streaming = true;
        } else {
            self.field = Some(field);
            self.value.clear();
        }
        Some(())
    }

    /// The value of a field has ended.
    fn ends(&mut self, is_bare: bool, begun: &mut usize, tools: &Tools, out: &mut Delta) -> Option<()> {
        self.is_streaming = false;
        let Some(field) = self.field.take() else { return Some(()) };
        let value = std::mem::take(&mut self.value);
        let text = || serde_json::from_str::<String>(&value).ok();
        match field {
            Field::Name => self.name = Some(text().filter(|name| !name.is_empty())?),
            Field::Id => self.id = text(),
            Field::Arguments => {
                // Some write the arguments as a text that is JSON.
                let arguments = text().unwrap_or(value);
                self.arguments =
                    Some(if matches!(arguments.trim(), "" | "null") { "{}".to_owned() } else { arguments });
            }
            Field::Other => {}
        }
        if self.index.is_none()
            && self.name.is_some()
            && let Some(arguments) = self.arguments.take()
        {
            let index = self.begin(is_bare, begun, tools, out)?;
            out.argue(index, &arguments);
        }
        Some(())
    }

    fn begin(&mut self, is_bare: bool, begun: &mut usize, tools: &Tools, out: &mut Delta) -> Option<usize> {
        let name = self.name.clone()?;
        if is_bare && !tools.has(&name) {
            return None;
        }
        let index = *begun;
        *begun += 1;
        self.index = Some(index);
        out.begin(index, &name, self.id.take());
        Some(index)
    }
}
