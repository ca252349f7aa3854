//! Arguments that are written as in a programming language: Python's `f(a='x', b=[1, None])`, and Gemma's
//! `f{a:<|"|>x<|"|>,b:[1]}`, where a text stands between marks of its own.

use serde_json::{Map, Value as Json};

/// Values nested deeper are taken as text.
const DEPTH_MAX: usize = 64;

/// What texts begin and end with. The first two have escapes as Python has them; the others have none.
const QUOTES: [&str; 4] = ["\"", "'", "<|\"|>", "<escape>"];

/// Finds where an argument ends.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    /// Bytes of the argument that were looked at.
    seen: usize,
    depth: usize,
    quote: Option<&'static str>,
    is_escaped: bool,
}

impl Extent {
    /// Bytes of the argument that `text` begins with: it ends before a comma or before `close`, outside of quotes
    /// and brackets. `None` if `text` ends first; more of it can be given then, with the same beginning.
    pub fn find(&mut self, text: &str, close: char) -> Option<usize> {
        while let Some(char) = text[self.seen..].chars().next() {
            let rest = &text[self.seen..];
            let mut step = char.len_utf8();
            if let Some(quote) = self.quote {
                if std::mem::take(&mut self.is_escaped) {
                } else if char == '\\' && quote.len() == 1 {
                    self.is_escaped = true;
                } else if rest.starts_with(quote) {
                    self.quote = None;
                    step = quote.len();
                } else if quote.starts_with(rest) {
                    return None;
                }
            } else if let Some(quote) = QUOTES.into_iter().find(|quote| rest.starts_with(quote)) {
                self.quote = Some(quote);
                step = quote.len();
            } else if QUOTES.iter().any(|quote| quote.starts_with(rest)) {
                return None;
            } else if self.depth == 0 && (char == ',' || char == close) {
                return Some(self.seen);
            } else if matches!(char, '(' | '[' | '{') {
                self.depth += 1;
            } else if matches!(char, ')' | ']' | '}') {
                self.depth = self.depth.saturating_sub(1);
            }
            self.seen += step;
        }
        None
    }
}

/// The JSON value of a literal; what is none is taken as text.
pub fn value_of(text: &str) -> Json {
    let text = text.trim();
    let mut reader = Reader { rest: text };
    match reader.value(0) {
        Some(value) if reader.rest.trim().is_empty() => value,
        _ => Json::from(text),
    }
}

/// The text of a literal that was cut off, without its opening quote.
pub fn cut_text(text: &str) -> &str {
    let text = text.trim_start();
    QUOTES.iter().find_map(|quote| text.strip_prefix(quote)).unwrap_or(text)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(text) = self.text() {
            return Some(Json::from(text));
        }
        if self.eat("{") {
            return self.object(depth);
        }
        for (open, close) in [("[", "]"), ("(", ")")] {
            if self.eat(open) {
                return self.list(close, depth);
            }
        }
        let end = self.rest.find([',', ']', ')', '}', ':']).unwrap_or(self.rest.len());
        let (word, rest) = (self.rest[..end].trim(), &self.rest[end..]);
        let value = match word {
            "True" | "true" => Json::from(true),
            "False" | "false" => Json::from(false),
            "None" | "null" | "none" => Json::Null,
            _ => Json::Number(serde_json::from_str(word).ok()?),
        };
        self.rest = rest;
        Some(value)
    }

    fn list(&mut self, close: &str, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        loop {
            if self.eat(close) {
                return Some(Json::Array(items));
            }
            items.push(self.value(depth + 1)?);
            if !self.eat(",") && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut fields = Map::new();
        loop {
            if self.eat("}") {
                return Some(Json::Object(fields));
            }
            self.space();
            let key = match self.text() {
                Some(key) => key,
                None => {
                    let (key, rest) = self.rest.split_at(self.rest.find(':')?);
                    self.rest = rest;
                    key.trim().to_owned()
                }
            };
            if !self.eat(":") {
                return None;
            }
            fields.insert(key, self.value(depth + 1)?);
            if !self.eat(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
    }

    /// A text in quotes.
    fn text(&mut self) -> Option<String> {
        let (quote, rest) = QUOTES.iter().find_map(|quote| Some((*quote, self.rest.strip_prefix(quote)?)))?;
        if quote.len() > 1 {
            let (text, rest) = rest.split_once(quote)?;
            self.rest = rest;
            return Some(text.to_owned());
        }
        let mut out = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '\\' => escaped(&mut chars, &mut out)?,
                char if quote.starts_with(char) => break,
                char => out.push(char),
            }
        }
        self.rest = chars.as_str();
        Some(out)
    }
}

/// What stands behind a backslash, as in Python: an unknown escape keeps its backslash.
fn escaped(chars: &mut std::str::Chars, out: &mut String) -> Option<()> {
    let hexadecimal = |chars: &mut std::str::Chars, digits: usize| {
        let code = u32::from_str_radix(chars.as_str().get(..digits)?, 16).ok()?;
        chars.nth(digits - 1);
        Some(code)
    };
    match chars.next()? {
        'n' => out.push('\n'),
        't' => out.push('\t'),
        'r' => out.push('\r'),
        '\n' => {}
        char @ ('\\' | '\'' | '"' | '/') => out.push(char),
        'x' => out.push(char::from_u32(hexadecimal(chars, 2)?)?),
        'u' => {
            let mut code = hexadecimal(chars, 4)?;
            if (0xD800..0xDC00).contains(&code) && chars.as_str().starts_with("\\u") {
                chars.nth(1);
                code = 0x10000 + ((code - 0xD800) << 10) + (hexadecimal(chars, 4)?.wrapping_sub(0xDC00) & 0x3FF);
            }
            out.push(char::from_u32(code)?);
        }
        char => out.extend(['\\', char]),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_become_json() {
        let cases = [
            ("'it\\'s'", json!("it's")),
            ("\"a\\n\\u00e9\\ud83d\\ude00\\x41\\q\"", json!("a\né😀A\\q")),
            ("<|\"|>say \"hi\", {now}<|\"|>", json!("say \"hi\", {now}")),
            ("<escape>x<escape>", json!("x")),
            ("True", json!(true)),
            ("None", json!(null)),
            ("-1.5", json!(-1.5)),
            ("[1, 'a', (2,), []]", json!([1, "a", [2], []])),
            ("{'a': {'b': [None]}, \"c\": 1}", json!({"a": {"b": [null]}, "c": 1})),
            ("{a:<|\"|>x<|\"|>,b:[1]}", json!({"a": "x", "b": [1]})),
            ("some words", json!("some words")),
            ("'open", json!("'open")),
            ("[1, 2", json!("[1, 2")),
        ];
        for (text, value) in cases {
            assert_eq!(value_of(text), value, "{text}");
        }
    }

    #[test]
    fn the_end_is_the_same_however_the_text_comes() {
        let cases = [
            ("'a, )', b=1)", ')', 6),
            ("[1, (2)], x", ')', 8),
            ("<|\"|>},<|\"|>}", '}', 12),
            ("\"\\\")\" )", ')', 6),
            ("x}", '}', 1),
        ];
        for (text, close, end) in cases {
            assert_eq!(Extent::default().find(text, close), Some(end), "{text}");
            let mut extent = Extent::default();
            let ends = (0..=text.len()).filter(|&at| text.is_char_boundary(at));
            let found = ends.filter_map(|at| extent.find(&text[..at], close)).next();
            assert_eq!(found, Some(end), "{text} by character");
        }
    }
}
