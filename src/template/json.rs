//! The `tojson` filter as chat templates know it: Python's `json.dumps(value, ensure_ascii=False,
//! indent=…)`. minijinja's own filter escapes `<`, `>`, `&` and `'` for HTML, which would change
//! the prompt.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Call, flag};
use super::text::{is_namespace, python_float, type_name};

/// Containers nested deeper than this are refused, because the writer recurses.
const DEPTH_MAX: usize = 100;
/// Wider indents are of no use and would multiply the output.
const INDENT_MAX: usize = 16;
/// Bytes that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 16;

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`. Pays fuel
/// while it writes, so that the output stays bounded.
pub(super) fn tojson(state: &State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let call = Call::new("tojson", args)?;
    let [ascii, indent, separators, sort_keys] = call.bind(["ensure_ascii", "indent", "separators", "sort_keys"], 0)?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.chars().take(INDENT_MAX).collect(),
            None => " ".repeat(call.integer(Some(&indent))?.unwrap_or(0).clamp(0, INDENT_MAX as i64) as usize),
        }),
    };
    let (comma, colon) = match separators.filter(|separators| !separators.is_none()) {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(pair) => match super::items::items(state, &pair)?.as_slice() {
            [comma, colon] => (call.text(comma)?.to_owned(), call.text(colon)?.to_owned()),
            _ => return Err(call.refuse("needs two separators")),
        },
    };
    let (ascii, sort_keys) = (flag(&ascii, false), flag(&sort_keys, false));
    let mut writer = Writer { state, out: String::new(), paid: 0, indent, comma, colon, ascii, sort_keys, depth: 0 };
    writer.value(value)?;
    Ok(Value::from(writer.out))
}

struct Writer<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    out: String,
    /// Bytes of `out` that fuel was paid for.
    paid: usize,
    indent: Option<String>,
    comma: String,
    colon: String,
    ascii: bool,
    sort_keys: bool,
    depth: usize,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.plain("null"),
            ValueKind::Bool => self.plain(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::Seq => self.list(value),
            ValueKind::Iterable if type_name(value) == "list" => self.list(value),
            ValueKind::Map if !is_namespace(value) => self.object(value),
            _ => match value.as_str() {
                Some(text) => self.string(text),
                None => Err(fault(format!("'{}' is not JSON serializable", type_name(value)))),
            },
        }
    }

    /// Pays for what was written since the last time.
    fn pay(&mut self) -> Result<(), Error> {
        let fuel = (self.out.len() - self.paid) / BYTES_PER_FUEL;
        self.paid += fuel * BYTES_PER_FUEL;
        self.state.consume_fuel(fuel as u64)
    }

    fn plain(&mut self, text: &str) -> Result<(), Error> {
        self.out.push_str(text);
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        if value.is_integer() {
            return self.plain(&value.to_string());
        }
        let number = f64::try_from(value.clone())?;
        match number {
            f64::INFINITY => self.plain("Infinity"),
            f64::NEG_INFINITY => self.plain("-Infinity"),
            _ if number.is_nan() => self.plain("NaN"),
            _ => self.plain(&python_float(number)),
        }
    }

    fn list(&mut self, value: &Value) -> Result<(), Error> {
        self.open('[')?;
        let mut empty = true;
        for item in value.try_iter()? {
            self.item(empty);
            empty = false;
            self.value(&item)?;
        }
        self.close(']', empty);
        Ok(())
    }

    fn object(&mut self, value: &Value) -> Result<(), Error> {
        self.open('{')?;
        let mut empty = true;
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            let all_text = keys.iter().all(|key| key.as_str().is_some());
            if !all_text && keys.iter().any(|key| key.kind() != ValueKind::Number) {
                return Err(fault("keys of different types cannot be sorted"));
            }
            keys.sort();
        }
        for key in keys {
            self.item(empty);
            empty = false;
            match key.as_str() {
                Some(text) => self.string(text)?,
                None if matches!(key.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number) => {
                    self.out.push('"');
                    self.value(&key)?;
                    self.out.push('"');
                }
                None => return Err(fault(format!("a key is '{}', not a string or a number", type_name(&key)))),
            }
            self.out.push_str(&self.colon);
            self.value(&value.get_item(&key)?)?;
        }
        self.close('}', empty);
        Ok(())
    }

    fn open(&mut self, bracket: char) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(fault("value is nested too deeply for JSON"));
        }
        self.out.push(bracket);
        Ok(())
    }

    fn item(&mut self, first: bool) {
        if !first {
            self.out.push_str(&self.comma);
        }
        if self.indent.is_some() {
            self.line();
        }
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.depth -= 1;
        if self.indent.is_some() && !empty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn line(&mut self) {
        self.out.push('\n');
        if let Some(indent) = &self.indent {
            self.out.extend(std::iter::repeat_n(indent.as_str(), self.depth));
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..='\u{1f}' => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                _ if self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }
}

fn fault(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
