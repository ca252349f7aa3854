//! Grammars that are put together of parts: texts, control tokens, JSON of a schema. Calls of tools are written so.

use crate::schema;
use crate::{Refused, spaced};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;

/// A grammar, or a part of one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// This text.
    Text(String),
    /// This token, which adds no text.
    Token(u32),
    /// A text that a regular expression describes.
    Pattern(String),
    /// A text that a regular expression describes, through the first place where `close` stands, which must not stand in it
    /// before.
    Until {
        /// What stands before `close`.
        pattern: String,
        /// What ends it.
        close: String,
    },
    /// JSON.
    Json {
        /// What describes it.
        schema: Value,
        /// Where the schema stands in the request, as a JSON Pointer, for errors.
        at: String,
    },
    /// One of these.
    Any(Vec<Part>),
    /// These one after the other.
    All(Vec<Part>),
    /// This or nothing.
    Maybe(Box<Part>),
    /// This any number of times.
    Many(Box<Part>),
}

impl Part {
    /// Whether there is a token in it that adds no text.
    pub fn has_tokens(&self) -> bool {
        match self {
            Part::Token(_) => true,
            Part::Any(parts) | Part::All(parts) => parts.iter().any(Part::has_tokens),
            Part::Maybe(part) | Part::Many(part) => part.has_tokens(),
            Part::Text(_) | Part::Pattern(_) | Part::Until { .. } | Part::Json { .. } => false,
        }
    }
}

/// The grammar in llguidance's Lark.
pub fn to_lark(part: &Part) -> Result<String, Refused> {
    let mut rules = String::new();
    let mut start = String::new();
    write(part, &mut start, &mut rules, &mut 0)?;
    Ok(format!("start: {start}\n{rules}"))
}

/// Appends what stands for `part` within a rule, and rules of its own where it needs them.
fn write(part: &Part, out: &mut String, rules: &mut String, count: &mut usize) -> Result<(), Refused> {
    let mut group = |parts: &[Part], between: &str, out: &mut String| {
        out.push('(');
        for (place, part) in parts.iter().enumerate() {
            out.push_str(if place > 0 { between } else { "" });
            write(part, out, rules, count)?;
        }
        out.push(')');
        Ok(())
    };
    match part {
        Part::Any(parts) => return group(parts, " | ", out),
        Part::All(parts) if parts.is_empty() => out.push_str("\"\""),
        Part::All(parts) => return group(parts, " ", out),
        Part::Maybe(part) => {
            group(std::slice::from_ref(part), "", out)?;
            out.push('?');
        }
        Part::Many(part) => {
            group(std::slice::from_ref(part), "", out)?;
            out.push('*');
        }
        Part::Text(text) => out.push_str(&quoted(text)),
        Part::Token(token) => drop(write!(out, "<[{token}]>")),
        Part::Pattern(pattern) => out.push_str(&between_slashes(pattern)),
        Part::Until { pattern, close } => {
            *count += 1;
            let _ = write!(out, "until_{count}");
            let _ = writeln!(rules, "until_{count}[suffix={}]: {}", quoted(close), between_slashes(pattern));
        }
        Part::Json { schema, at } => {
            schema::check(schema)
                .map_err(|refused| Refused { at: refused.at.map(|inner| format!("{at}{inner}")), ..refused })?;
            let _ = write!(out, "%json {}", spaced(schema::plain(schema.clone())));
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A regular expression as Lark has it: slashes are escaped, unless they are already.
fn between_slashes(pattern: &str) -> String {
    let mut out = String::from("/");
    let mut is_escaped = false;
    for char in pattern.chars() {
        if char == '/' && !is_escaped {
            out.push('\\');
        }
        is_escaped = char == '\\' && !is_escaped;
        match char {
            '\n' => out.push_str("\\n"),
            char => out.push(char),
        }
    }
    out.push('/');
    out
}
