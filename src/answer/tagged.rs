//! Arguments that are written as tags, and such that are written as in a programming language. Each becomes JSON when
//! it is whole.

use super::json::quoted;
use super::literal::{self, Extent};
use super::tools::Tools;
use super::{Delta, Rest};

/// Longer names of parameters are none.
const KEY_BYTES_MAX: usize = 256;

/// What a step came to.
pub enum Step {
    /// More text is needed.
    More,
    /// So many bytes were read.
    Read(usize),
    /// So many bytes were read, and the arguments have ended.
    Ended(usize),
}

/// The object that the arguments of a call become.
#[derive(Clone, Debug)]
pub struct Object {
    index: usize,
    name: String,
    /// Arguments written so far.
    count: usize,
}

impl Object {
    /// For the call of this place and name.
    pub fn new(index: usize, name: &str) -> Object {
        Object { index, name: name.to_owned(), count: 0 }
    }

    /// The beginning of a field.
    fn key(&mut self, key: &str, out: &mut Delta) {
        out.argue(self.index, if self.count == 0 { "{" } else { "," });
        out.argue(self.index, &format!("{}:", quoted(key)));
        self.count += 1;
    }

    fn field(&mut self, key: &str, json: &str, out: &mut Delta) {
        self.key(key, out);
        out.argue(self.index, json);
    }

    /// A field that was cut off: a text without its end.
    fn cut_field(&mut self, key: &str, text: &str, out: &mut Delta) {
        self.key(key, out);
        let quoted = quoted(text);
        out.argue(self.index, &quoted[..quoted.len() - 1]);
    }

    fn end(&self, out: &mut Delta) {
        out.argue(self.index, if self.count == 0 { "{}" } else { "}" });
    }
}

/// How arguments are tagged.
#[derive(Debug, PartialEq, Eq)]
pub struct Tags {
    /// Before the name of a parameter, and behind it.
    pub key: [&'static str; 2],
    /// Before a value, where something is, and behind it.
    pub value: [&'static str; 2],
    /// Behind all.
    pub end: &'static str,
    /// A line feed beside a value belongs to its tag.
    pub has_lines: bool,
}

/// Every kind in use: Qwen3-Coder and Seed, MiniMax, DeepSeek 3.2, GLM.
pub static TAGS: [Tags; 4] = [
    Tags { key: ["<parameter=", ">"], value: ["", "</parameter>"], end: "</function>", has_lines: true },
    Tags { key: ["<parameter name=\"", ">"], value: ["", "</parameter>"], end: "</invoke>", has_lines: false },
    Tags {
        key: ["<\u{ff5c}DSML\u{ff5c}parameter name=\"", ">"],
        value: ["", "</\u{ff5c}DSML\u{ff5c}parameter>"],
        end: "</\u{ff5c}DSML\u{ff5c}invoke>",
        has_lines: false,
    },
    Tags {
        key: ["<arg_key>", "</arg_key>"],
        value: ["<arg_value>", "</arg_value>"],
        end: "</tool_call>",
        has_lines: false,
    },
];

/// Reads tagged arguments.
#[derive(Clone, Debug)]
pub struct Tagged {
    pub object: Object,
    tags: &'static Tags,
    at: At,
    /// Bytes of a value that were looked at.
    seen: usize,
}

#[derive(Clone, Debug)]
enum At {
    /// Before a parameter or the end.
    Between,
    Key,
    /// Behind a name, with what stands there beside it.
    Value {
        key: String,
        is_text: Option<bool>,
    },
    /// The same, before the mark of the value.
    Opening {
        key: String,
        is_text: Option<bool>,
    },
}

impl Tagged {
    /// Awaits the first parameter.
    pub fn new(tags: &'static Tags, object: Object) -> Tagged {
        Tagged { object, tags, at: At::Between, seen: 0 }
    }

    /// Reads a bit.
    pub fn step(&mut self, text: &str, come: Rest, tools: &Tools, out: &mut Delta) -> Step {
        let space = text.len() - text.trim_start().len();
        match &mut self.at {
            At::Between | At::Opening { .. } if space > 0 => Step::Read(space),
            At::Between => {
                let [open, _] = self.tags.key;
                if text.starts_with(open) {
                    self.at = At::Key;
                    return Step::Read(open.len());
                }
                if come == Rest::Comes
                    && (open.starts_with(text) || self.tags.end.starts_with(text) && text.len() < self.tags.end.len())
                {
                    return Step::More;
                }
                // Where the answer was cut off, more would have come.
                if !(text.is_empty() && come == Rest::Cut) {
                    self.object.end(out);
                }
                Step::Ended(0)
            }
            At::Key => {
                let [_, close] = self.tags.key;
                match text.find(close) {
                    Some(end) if end <= KEY_BYTES_MAX => {
                        let (key, is_text) = key_of(&text[..end]);
                        self.at = At::Opening { key, is_text };
                        Step::Read(end + close.len())
                    }
                    None if come == Rest::Comes && text.len() <= KEY_BYTES_MAX => Step::More,
                    _ if come == Rest::Cut => Step::Ended(text.len()),
                    _ => {
                        self.object.end(out);
                        Step::Ended(0)
                    }
                }
            }
            At::Opening { key, is_text } => {
                let [open, _] = self.tags.value;
                if text.len() < open.len() && open.starts_with(text) && come == Rest::Comes {
                    return Step::More;
                }
                let read = if text.starts_with(open) { open.len() } else { 0 };
                self.at = At::Value { key: std::mem::take(key), is_text: *is_text };
                self.seen = 0;
                Step::Read(read)
            }
            At::Value { key, is_text } => {
                let [_, close] = self.tags.value;
                let lined = |value: &str| match self.tags.has_lines {
                    true => {
                        let value = value.strip_prefix('\n').unwrap_or(value);
                        value.strip_suffix('\n').unwrap_or(value).to_owned()
                    }
                    false => value.to_owned(),
                };
                if let Some(end) = text[self.seen..].find(close) {
                    let end = self.seen + end;
                    let value = lined(&text[..end]);
                    let json = match is_text {
                        Some(true) => quoted(&value),
                        _ => tools.argument(&self.object.name, key, &value),
                    };
                    self.object.field(key, &json, out);
                    self.at = At::Between;
                    return Step::Read(end + close.len());
                }
                if come == Rest::Comes {
                    let seen = text.len().saturating_sub(close.len());
                    self.seen = (0..=seen).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                    return Step::More;
                }
                self.object.cut_field(key, &lined(text), out);
                Step::Ended(text.len())
            }
        }
    }
}

/// The name of a parameter, and whether its tag says that it is a text or none.
fn key_of(tag: &str) -> (String, Option<bool>) {
    let (key, beside) = tag.trim().split_once('"').unwrap_or((tag.trim(), ""));
    let is_text =
        if beside.contains("string=\"true") { Some(true) } else { beside.contains("string=\"false").then_some(false) };
    (key.to_owned(), is_text)
}

/// Reads arguments as of a programming language, behind their opening bracket.
#[derive(Clone, Debug)]
pub struct Literals {
    pub object: Object,
    close: char,
    /// What stands between a name and its value.
    equals: char,
    extent: Extent,
}

impl Literals {
    /// Python's, between round brackets.
    pub fn python(object: Object) -> Literals {
        Literals { object, close: ')', equals: '=', extent: Extent::default() }
    }

    /// Gemma's, between curly ones.
    pub fn gemma(object: Object) -> Literals {
        Literals { object, close: '}', equals: ':', extent: Extent::default() }
    }

    /// Reads a bit.
    pub fn step(&mut self, text: &str, come: Rest, tools: &Tools, out: &mut Delta) -> Step {
        let Some(end) = self.extent.find(text, self.close) else {
            if come == Rest::Comes {
                return Step::More;
            }
            if !text.trim().is_empty() {
                let (key, value) = self.parts(text, tools);
                self.object.cut_field(&key, literal::cut_text(value), out);
            }
            return Step::Ended(text.len());
        };
        self.extent = Extent::default();
        let argument = &text[..end];
        if !argument.trim().is_empty() {
            let (key, value) = self.parts(argument, tools);
            let json = literal::value_of(value).to_string();
            self.object.field(&key, &json, out);
        }
        if text[end..].starts_with(self.close) {
            self.object.end(out);
            return Step::Ended(end + 1);
        }
        Step::Read(end + 1)
    }

    /// The name and the value of an argument; one without a name has that of its place.
    fn parts<'a>(&self, argument: &'a str, tools: &Tools) -> (String, &'a str) {
        let is_name = |key: &str| {
            !key.is_empty() && key.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '$'))
        };
        let named = argument.split_once(self.equals).map(|(key, value)| (key.trim().trim_matches(['"', '\'']), value));
        match named {
            Some((key, value)) if is_name(key) => (key.to_owned(), value),
            _ => {
                let place = self.object.count;
                let name = tools.parameter(&self.object.name, place);
                (name.map_or_else(|| format!("argument{place}"), str::to_owned), argument)
            }
        }
    }
}
