//! JSON read one character at a time, so that a value can be passed on while it is written (RFC 8259).

/// Values nested deeper are refused: nothing that a person wrote needs it.
const DEPTH_MAX: usize = 128;

/// What a character was, seen from the fields of an object or the items of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A number or literal ended before this character, at the depth that is left then.
    pub ended_before: bool,
    /// A value begins with it.
    pub starts: bool,
    /// A value ends with it.
    pub ends: bool,
    /// A key ends with it: it is the closing quote.
    pub key_ends: bool,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Value,
    /// A value or the end of the list.
    Item,
    /// A key or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end of what is open.
    Next,
    Text {
        is_key: bool,
        escape: Escape,
    },
    /// The rest of `true`, `false` or `null`.
    Literal(&'static str),
    Number(Number),
    /// The whole value has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// Hexadecimal digits that are still to come.
    Digits(u8),
}

/// The last part of a number that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    fn next(self, char: char) -> Option<Number> {
        use Number::{Exponent, Fraction, Minus, Point, Power, Sign, Whole, Zero};
        match (self, char) {
            (Minus, '0') => Some(Zero),
            (Minus, '1'..='9') | (Whole, '0'..='9') => Some(Whole),
            (Zero | Whole, '.') => Some(Point),
            (Point | Fraction, '0'..='9') => Some(Fraction),
            (Zero | Whole | Fraction, 'e' | 'E') => Some(Exponent),
            (Exponent, '+' | '-') => Some(Sign),
            (Exponent | Sign | Power, '0'..='9') => Some(Power),
            _ => None,
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Number::Zero | Number::Whole | Number::Fraction | Number::Power)
    }
}

/// A JSON value that is being read.
#[derive(Clone, Debug)]
pub struct Json {
    at: At,
    /// What is open: true for an object, false for a list.
    open: Vec<bool>,
}

impl Json {
    /// Awaits a value.
    pub fn new() -> Json {
        Json { at: At::Value, open: Vec::new() }
    }

    /// How many objects and lists are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the character that comes next belongs to a key.
    pub fn is_in_key(&self) -> bool {
        matches!(self.at, At::Text { is_key: true, .. })
    }

    /// Whether the character that comes next belongs to a text.
    pub fn is_in_text(&self) -> bool {
        matches!(self.at, At::Text { .. })
    }

    /// Whether the value is whole.
    pub fn is_whole(&self) -> bool {
        self.at == At::End
    }

    /// Takes as much of `text` as belongs to the value and appends it to `out`, with the escapes that the standard wants
    /// and the model forgot. The bytes taken; the value is broken if they are not all and it is not whole.
    pub fn read(&mut self, text: &str, out: &mut String) -> usize {
        for (at, char) in text.char_indices() {
            let is_in_text = self.is_in_text();
            if self.is_whole() || self.take(char).is_none() {
                return at;
            }
            push_mended(out, char, is_in_text);
        }
        text.len()
    }

    /// Takes a character; `None` if no JSON goes on with it, and then nothing was taken. Control characters within
    /// texts are let through, though the standard wants them escaped: models forget that.
    pub fn take(&mut self, char: char) -> Option<Seen> {
        let mut seen = Seen::default();
        match self.at {
            At::Text { is_key, escape } => {
                let next = match (escape, char) {
                    (Escape::None, '\\') => Escape::Begun,
                    (Escape::None, '"') => {
                        self.at = if is_key { At::Colon } else { self.after() };
                        return Some(Seen { key_ends: is_key, ends: !is_key, ..seen });
                    }
                    (Escape::Begun, 'u') => Escape::Digits(4),
                    (Escape::Begun, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') | (Escape::None, _) => Escape::None,
                    (Escape::Digits(left), char) if char.is_ascii_hexdigit() => match left {
                        1 => Escape::None,
                        left => Escape::Digits(left - 1),
                    },
                    (Escape::Begun | Escape::Digits(_), _) => return None,
                };
                self.at = At::Text { is_key, escape: next };
                return Some(seen);
            }
            At::Literal(rest) => {
                let rest = rest.strip_prefix(char)?;
                seen.ends = rest.is_empty();
                self.at = if rest.is_empty() { self.after() } else { At::Literal(rest) };
                return Some(seen);
            }
            At::Number(number) => match number.next(char) {
                Some(next) => {
                    self.at = At::Number(next);
                    return Some(seen);
                }
                None if number.is_whole() => {
                    seen.ended_before = true;
                    let before = self.at;
                    self.at = self.after();
                    let taken = self.between(char, seen);
                    if taken.is_none() {
                        self.at = before;
                    }
                    return taken;
                }
                None => return None,
            },
            At::Value | At::Item | At::FirstKey | At::Key | At::Colon | At::Next | At::End => {}
        }
        self.between(char, seen)
    }

    /// A character outside texts, literals and numbers.
    fn between(&mut self, char: char, seen: Seen) -> Option<Seen> {
        if matches!(char, ' ' | '\t' | '\n' | '\r') {
            return Some(seen);
        }
        match (self.at, char) {
            (At::FirstKey, '}') | (At::Item, ']') => self.close(seen),
            (At::Next, '}') if self.open.last() == Some(&true) => self.close(seen),
            (At::Next, ']') if self.open.last() == Some(&false) => self.close(seen),
            (At::Next, ',') => {
                self.at = if self.open.last() == Some(&true) { At::Key } else { At::Value };
                Some(seen)
            }
            (At::FirstKey | At::Key, '"') => {
                self.at = At::Text { is_key: true, escape: Escape::None };
                Some(seen)
            }
            (At::Colon, ':') => {
                self.at = At::Value;
                Some(seen)
            }
            (At::Value | At::Item, char) => self.begin(char).map(|()| Seen { starts: true, ..seen }),
            _ => None,
        }
    }

    fn begin(&mut self, char: char) -> Option<()> {
        self.at = match char {
            '{' | '[' if self.open.len() < DEPTH_MAX => {
                self.open.push(char == '{');
                if char == '{' { At::FirstKey } else { At::Item }
            }
            '"' => At::Text { is_key: false, escape: Escape::None },
            't' => At::Literal("rue"),
            'f' => At::Literal("alse"),
            'n' => At::Literal("ull"),
            '-' => At::Number(Number::Minus),
            '0' => At::Number(Number::Zero),
            '1'..='9' => At::Number(Number::Whole),
            _ => return None,
        };
        Some(())
    }

    fn close(&mut self, seen: Seen) -> Option<Seen> {
        self.open.pop();
        self.at = self.after();
        Some(Seen { ends: true, ..seen })
    }

    /// What comes after a value.
    fn after(&self) -> At {
        if self.open.is_empty() { At::End } else { At::Next }
    }
}

/// Appends a character of a JSON text; control characters within texts become escapes.
pub fn push_mended(out: &mut String, char: char, is_in_text: bool) {
    match char {
        '\n' if is_in_text => out.push_str("\\n"),
        '\r' if is_in_text => out.push_str("\\r"),
        '\t' if is_in_text => out.push_str("\\t"),
        char if is_in_text && char < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
        char => out.push(char),
    }
}

/// A text as JSON, in quotes.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the whole of `text` is a value.
    fn is_value(text: &str) -> bool {
        let mut json = Json::new();
        // A number ends where something else begins.
        text.chars().chain([' ']).all(|char| json.take(char).is_some()) && json.is_whole()
    }

    #[test]
    fn agrees_with_a_whole_reader() {
        let values = [
            "{}",
            "[]",
            "[1,2]",
            "{\"a\":{\"b\":[true,false,null]}}",
            "\"a\\u00e9\\n\\\"\"",
            "-0.5e+10",
            "0",
            "12",
            " [ ] ",
            "{\"a\":1}",
            "1e5",
            "\"\"",
        ];
        let others = [
            "",
            "{",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            "1e",
            "-",
            "+1",
            "tru",
            "truex",
            "nul",
            "'a'",
            "[1 2]",
            "{\"a\":1,}",
            "\"\\x\"",
            "\"\\u12g4\"",
            "}",
            "{]",
            "[}",
            "1 2",
            ".5",
            "\"a",
        ];
        for (text, is_right) in values.map(|text| (text, true)).into_iter().chain(others.map(|text| (text, false))) {
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).is_ok(), is_right, "{text}");
            assert_eq!(is_value(text), is_right, "{text}");
        }
    }

    #[test]
    fn edits_of_values_agree_with_a_whole_reader() {
        let base = "{\"a\": [1, -2.5e3, \"x\\n\\u0041\", true], \"b\": {\"c\": null}}";
        let letters = ['{', '}', '[', ']', ',', ':', '"', '1', '.', '-', 'e', 't', '\\', ' '];
        for at in 0..base.len() {
            for with in letters.iter().map(|letter| letter.to_string()).chain([String::new()]) {
                let edited = format!("{}{with}{}", &base[..at], &base[at + 1..]);
                assert_eq!(is_value(&edited), serde_json::from_str::<serde_json::Value>(&edited).is_ok(), "{edited}");
            }
        }
    }

    #[test]
    fn refuses_absurd_depth() {
        assert!(!is_value(&format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1))));
        assert!(is_value(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))));
    }

    #[test]
    fn forgotten_escapes_are_mended() {
        let mut out = String::new();
        "a\n\u{1}\"".chars().for_each(|char| push_mended(&mut out, char, true));
        push_mended(&mut out, '\n', false);
        assert_eq!(out, "a\\n\\u0001\"\n");
    }
}
