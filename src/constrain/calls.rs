//! Calls of tools as a grammar: the form in which the model writes them, with the tools' names and schemas in it.

use crate::answer::{Arguments, Form, PROBE_ID, Tagging, takes_text};
use crate::error::{ChordError, Result};
use serde_json::{Map, Value as Json, json};

/// Keywords of the schema of a tool's parameters that tagged arguments can be held to, or that rule nothing out.
const TAGGED_ROOT: [&str; 11] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "$defs",
    "definitions",
    "title",
    "description",
    "$schema",
    "$comment",
    "examples",
];

/// Keywords of the schema of a text that tagged arguments can be held to, or that rule nothing out.
const TAGGED_TEXT: [&str; 9] =
    ["type", "enum", "minLength", "maxLength", "title", "description", "default", "examples", "$comment"];

/// White space that a model may put between a thought and its calls.
const SPACE: &str = "[ \\n]{1,3}";

/// Where a grammar of calls begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Where the answer does: it is calls and nothing else.
    Answer,
    /// Behind the mark of a section, or where a call begins that nothing marks. It ends with the section.
    Section,
}

/// What calls are held to.
pub struct Calls<'a> {
    /// How the model writes them.
    pub form: &'a Form,
    /// The tools, as a request has them.
    pub tools: &'a [Json],
    /// Where the grammar begins.
    pub begins: Begins,
    /// There is one call, and no more.
    pub is_single: bool,
    /// White space may stand before an answer, as it does behind a thought.
    pub may_space: bool,
    /// The first control token whose name stands in a text: one that adds no text.
    pub control: &'a dyn Fn(&str) -> Option<Control>,
}

/// A control token in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where its name stands.
    pub at: usize,
    /// Bytes of its name.
    pub length: usize,
    /// Which it is.
    pub token: u32,
}

/// A tool, read.
struct Tool<'a> {
    name: &'a str,
    /// The schema of its parameters, which asks for an object.
    schema: Map<String, Json>,
    is_held: bool,
    /// Where the schema stands.
    at: String,
}

impl Calls<'_> {
    /// The grammar, as what reads grammars takes it.
    ///
    /// # Errors
    /// `InvalidParameter` naming `tools`: for a name that calls cannot have, for a schema that is none, and where arguments
    /// are tagged for a keyword that cannot be held there, which is in `details.keyword`.
    pub fn grammar(&self) -> Result<Json> {
        let tools =
            self.tools.iter().enumerate().map(|(place, tool)| self.tool(tool, place)).collect::<Result<Vec<_>>>()?;
        let calls: Vec<Json> = tools.iter().map(|tool| self.call(tool)).collect::<Result<_>>()?;
        let call = json!({"any": calls});
        let Form { section, open, again, close, .. } = self.form;
        let mark = section.filter(|section| !section.is_call).map_or("", |section| section.open);
        let open = match self.begins {
            Begins::Answer => open.as_str(),
            Begins::Section => open.strip_prefix(mark).unwrap_or(open),
        };
        let mut parts = Vec::new();
        if self.begins == Begins::Answer && self.may_space {
            parts.push(json!({"maybe": {"pattern": SPACE}}));
        }
        parts.push(self.literal(open));
        parts.push(call.clone());
        // Within a section no other section opens.
        let is_within = |again: &&String| self.begins == Begins::Answer || mark.is_empty() || !again.contains(mark);
        if let Some(again) = again.as_ref().filter(is_within).filter(|_| !self.is_single) {
            parts.push(json!({"many": {"all": [self.literal(again), call]}}));
        }
        parts.push(self.literal(close));
        Ok(json!({"all": parts}))
    }

    fn tool<'a>(&self, tool: &'a Json, place: usize) -> Result<Tool<'a>> {
        let refused = |why: &str| ChordError::parameter("tools", format!("tool {place} {why}"));
        let function = tool.get("function").unwrap_or(tool);
        let name = function.get("name").and_then(Json::as_str);
        let is_name = |name: &&str| {
            !name.is_empty() && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '/'))
        };
        let name = name.filter(is_name).ok_or_else(|| refused("has no name of letters, digits, _, -, . and /"))?;
        let is_held = match function.get("strict") {
            None | Some(Json::Null) => self.begins == Begins::Answer,
            Some(Json::Bool(strict)) => *strict,
            Some(_) => return Err(refused("has a 'strict' that is not true or false")),
        };
        let mut schema = match function.get("parameters") {
            // As OpenAI has it: there are none.
            None | Some(Json::Null) => Map::from_iter([("additionalProperties".to_owned(), Json::Bool(false))]),
            Some(Json::Object(schema)) => schema.clone(),
            Some(_) => return Err(refused("has parameters that are no schema")),
        };
        if *schema.entry("type").or_insert_with(|| json!("object")) != json!("object") {
            return Err(refused("has parameters that are no object").with("keyword", "type"));
        }
        let pointer = if tool.get("function").is_some() { "/function/parameters" } else { "/parameters" };
        Ok(Tool { name, schema, is_held, at: format!("/{place}{pointer}") })
    }

    /// The name of a tool and its arguments.
    fn call(&self, tool: &Tool) -> Result<Json> {
        let mut parts = vec![json!({"text": tool.name})];
        match &self.form.arguments {
            Arguments::Json(lead) => {
                parts.push(self.literal(lead));
                let schema = match tool.is_held {
                    true => Json::Object(tool.schema.clone()),
                    false => json!({"type": "object"}),
                };
                parts.push(json!({"json": {"schema": schema, "at": tool.at}}));
            }
            Arguments::Tagged(tagging) => {
                parts.push(self.literal(&tagging.lead));
                self.parameters(tool, tagging, &mut parts)?;
            }
        }
        Ok(json!({"all": parts}))
    }

    fn parameters(&self, tool: &Tool, tagging: &Tagging, parts: &mut Vec<Json>) -> Result<()> {
        let schema = &tool.schema;
        if tool.is_held
            && let Some(keyword) = schema.keys().find(|keyword| !TAGGED_ROOT.contains(&keyword.as_str()))
        {
            return Err(unsupported(keyword, &tool.at));
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let required: Vec<&str> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        if tool.is_held && required.iter().any(|name| properties.is_none_or(|known| !known.contains_key(*name))) {
            return Err(unsupported("required", &tool.at));
        }
        let [open, _] = tagging.tags.key;
        for (name, property) in properties.into_iter().flatten() {
            let at = format!("{}/properties/{}", tool.at, name.replace('~', "~0").replace('/', "~1"));
            let is_text = takes_text(property) == Some(true);
            // DeepSeek's tags say whether a value is a text.
            let middle = if is_text {
                tagging.middle.clone()
            } else {
                tagging.middle.replace("string=\"true", "string=\"false")
            };
            let mut parameter = vec![self.literal(open), json!({"text": name}), self.literal(&middle)];
            match (is_text, tool.is_held) {
                (true, _) => parameter.push(self.text(property, tagging, tool.is_held, &at)?),
                (false, is_held) => {
                    let mut property = if is_held { property.clone() } else { json!({}) };
                    if let Some(property) = property.as_object_mut() {
                        let shared = ["$defs", "definitions"].into_iter();
                        let shared = shared.filter_map(|name| Some((name.to_owned(), schema.get(name)?.clone())));
                        property.extend(shared.filter(|_| is_held));
                    }
                    parameter.push(json!({"json": {"schema": property, "at": at}}));
                    parameter.push(self.literal(&tagging.before));
                    parameter.push(self.literal(tagging.tags.value[1]));
                }
            }
            parameter.push(self.literal(&tagging.after));
            let parameter = json!({"all": parameter});
            let is_required = tool.is_held && required.contains(&name.as_str());
            parts.push(if is_required { parameter } else { json!({"maybe": parameter}) });
        }
        Ok(())
    }

    /// A text without quotes, and the tag behind it.
    fn text(&self, schema: &Json, tagging: &Tagging, is_held: bool, at: &str) -> Result<Json> {
        let close = tagging.tags.value[1];
        let keywords = schema.as_object().filter(|_| is_held);
        if let Some(keyword) =
            keywords.into_iter().flat_map(Map::keys).find(|keyword| !TAGGED_TEXT.contains(&keyword.as_str()))
        {
            return Err(unsupported(keyword, at));
        }
        if let Some(values) = keywords.and_then(|keywords| keywords.get("enum")).and_then(Json::as_array) {
            let values = values.iter().filter_map(Json::as_str);
            let values: Vec<Json> = values.map(|value| json!({"text": value})).collect();
            return Ok(json!({"all": [{"any": values}, self.literal(&tagging.before), self.literal(close)]}));
        }
        let limit = |name: &str| keywords.and_then(|keywords| keywords.get(name)).and_then(Json::as_u64);
        let (least, most) = (limit("minLength").unwrap_or(0), limit("maxLength"));
        let bound = |most: Option<u64>| most.map_or(String::new(), |most| most.to_string());
        // Where a line feed before the tag belongs to it, a text must not lose its own last one.
        let pattern = match (tagging.tags.has_lines, least) {
            (false, _) => format!("(?s:.{{{least},{}}})", bound(most)),
            (true, 0) => format!("(?s:.{{0,{}}})\\n?", bound(most)),
            (true, _) => {
                format!("(?s:.{{{},{}}})[^\\n]\\n?", least - 1, bound(most.map(|most| most.saturating_sub(1))))
            }
        };
        Ok(match (self.control)(close) {
            Some(_) => json!({"all": [{"pattern": pattern}, self.literal(close)]}),
            None => json!({"until": {"pattern": pattern, "close": close}}),
        })
    }

    /// What the template writes, with the control tokens in it, and any id in the place of the probe's.
    fn literal(&self, text: &str) -> Json {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let control = (self.control)(rest);
            let id = rest.find(PROBE_ID).filter(|id| control.is_none_or(|control| *id < control.at));
            let end = id.or(control.map(|control| control.at)).unwrap_or(rest.len());
            if end > 0 {
                parts.push(json!({"text": rest[..end]}));
            }
            rest = &rest[end..];
            if id.is_some() {
                parts.push(json!({"pattern": format!("[a-zA-Z0-9]{{{}}}", PROBE_ID.len())}));
                rest = &rest[PROBE_ID.len()..];
            } else if let Some(Control { length, token, .. }) = control {
                parts.push(json!({"token": token}));
                rest = &rest[length..];
            }
        }
        json!({"all": parts})
    }
}

fn unsupported(keyword: &str, at: &str) -> ChordError {
    let text = format!("the model writes arguments in tags, which cannot be held to the keyword '{keyword}' at '{at}'");
    ChordError::parameter("tools", text).with("keyword", keyword).with("at", at)
}
