//! The `tojson` filter as chat templates know it: Python's `json.dumps(value, ensure_ascii=False,
//! indent=…)`. minijinja's own filter escapes `<`, `>`, `&` and `'` for HTML, which would change
//! the prompt.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Containers nested deeper than this are refused, because the writer recurses.
const DEPTH_MAX: usize = 100;
/// Wider indents are of no use and would multiply the output.
const INDENT_MAX: usize = 16;
/// Bytes that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 16;

/// `value|tojson(indent=4)`. Pays fuel while it writes, so that the output stays bounded.
pub(super) fn tojson(state: &State, value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    // What Jinja2's callers pass besides: the order is always kept, ASCII is never forced.
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        options.get::<Option<Value>>(name)?;
    }
    options.assert_all_used()?;
    let indent = match indent {
        Some(indent) if !indent.is_none() => Some(usize::try_from(indent)?.min(INDENT_MAX)),
        _ => None,
    };
    let mut writer = Writer { state, out: String::new(), paid: 0, indent, depth: 0 };
    writer.value(value)?;
    Ok(Value::from(writer.out))
}

struct Writer<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    out: String,
    /// Bytes of `out` that fuel was paid for.
    paid: usize,
    indent: Option<usize>,
    depth: usize,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.pay()?;
        match value.kind() {
            ValueKind::Undefined => Err(fault("undefined is not JSON serializable")),
            ValueKind::None => self.plain("null"),
            ValueKind::Bool => self.plain(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::Seq | ValueKind::Iterable => self.list(value),
            ValueKind::Map => self.object(value),
            _ => match value.as_str() {
                Some(text) => self.string(text),
                None => Err(fault("value is not JSON serializable")),
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
        self.plain(&python_float(number))
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
        for key in value.try_iter()? {
            self.item(empty);
            empty = false;
            match key.as_str() {
                Some(text) => self.string(text)?,
                None => {
                    self.out.push('"');
                    self.value(&key)?;
                    self.out.push('"');
                }
            }
            self.out.push_str(": ");
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
        match self.indent {
            Some(_) => {
                self.out.push_str(if first { "" } else { "," });
                self.line();
            }
            None if !first => self.out.push_str(", "),
            None => {}
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
        let width = self.indent.unwrap_or(0) * self.depth;
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', width));
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
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }
}

fn fault(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A float as Python's `repr` writes it: shortest digits, at least two in an exponent.
fn python_float(number: f64) -> String {
    if !number.is_finite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return if number.is_nan() { "NaN".into() } else { format!("{sign}Infinity") };
    }
    let text = format!("{number:?}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::python_float;

    #[test]
    fn floats_as_python_writes_them() {
        let cases =
            [(1.0, "1.0"), (0.1, "0.1"), (1e16, "1e+16"), (1.5e-5, "1.5e-05"), (1e-4, "0.0001"), (-2e300, "-2e+300")];
        for (number, text) in cases {
            assert_eq!(python_float(number), text);
        }
        assert_eq!(python_float(123456789012345680.0), "1.2345678901234568e+17");
        assert_eq!(python_float(f64::INFINITY), "Infinity");
    }
}
