//! Values as Python writes them: `str` and `repr`.

use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::fmt;
use std::sync::Arc;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Containers nested deeper than this are refused, because the writer recurses.
const DEPTH_MAX: usize = 150;

/// Python's iterables that are no lists: their length, their truth and how they print differ.
#[derive(Debug)]
pub(super) struct Lazy {
    pub kind: LazyKind,
    pub items: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LazyKind {
    /// What `map`, `select` and their kin give: without a length, and always true.
    Generator,
    Keys,
    Values,
    Items,
}

impl Lazy {
    pub fn value(kind: LazyKind, items: Vec<Value>) -> Value {
        Value::from_object(Lazy { kind, items })
    }

    pub fn of(value: &Value) -> Option<&Lazy> {
        value.downcast_object_ref::<Lazy>()
    }
}

impl Object for Lazy {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.kind == LazyKind::Generator || !self.items.is_empty()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        lazy(&mut out, self, 0).map_err(|_| fmt::Error)?;
        f.write_str(&out)
    }
}

/// A method that is taken from a dictionary but not called: `{{ schema.items is defined }}`.
#[derive(Debug)]
pub(super) struct BoundMethod {
    pub owner: Value,
    pub name: String,
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut minijinja::State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.owner.call_method(state, &self.name, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in method {} of dict object>", self.name)
    }
}

/// The name of a value's type in Python.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map if is_namespace(value) => "Namespace",
        ValueKind::Map => "dict",
        ValueKind::Iterable => match Lazy::of(value).map(|lazy| lazy.kind) {
            Some(LazyKind::Generator) => "generator",
            Some(LazyKind::Keys) => "dict_keys",
            Some(LazyKind::Values) => "dict_values",
            Some(LazyKind::Items) => "dict_items",
            None => "list",
        },
        _ => "object",
    }
}

/// True for lists and tuples: minijinja has lazy ones, which slices and products of lists are.
pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) && Lazy::of(value).is_none()
}

/// True for what `namespace()` makes, which minijinja takes for a dictionary.
pub(super) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// `str(value)`; undefined is empty.
pub(super) fn python_str(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let mut out = String::new();
    if !value.is_undefined() {
        repr(&mut out, value, 0)?;
    }
    Ok(out)
}

/// `repr(value)`.
pub(super) fn python_repr(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    repr(&mut out, value, 0)?;
    Ok(out)
}

fn repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value nests too deeply to be printed"));
    }
    if let Some(text) = value.as_str() {
        repr_text(out, text);
        return Ok(());
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push_str(&python_float(number)),
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::Map if !is_namespace(value) => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(out, &key, depth + 1)?;
                out.push_str(": ");
                repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => match Lazy::of(value) {
            Some(found) => lazy(out, found, depth)?,
            None if value.is_tuple() => {
                list(out, value, depth, ["(", if value.len() == Some(1) { ",)" } else { ")" }])?;
            }
            None => list(out, value, depth, ["[", "]"])?,
        },
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

fn list(out: &mut String, value: &Value, depth: usize, brackets: [&str; 2]) -> Result<(), Error> {
    out.push_str(brackets[0]);
    for (index, item) in value.try_iter()?.enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        repr(out, &item, depth + 1)?;
    }
    out.push_str(brackets[1]);
    Ok(())
}

fn lazy(out: &mut String, lazy: &Lazy, depth: usize) -> Result<(), Error> {
    out.push_str(match lazy.kind {
        LazyKind::Generator => {
            out.push_str("<generator object>");
            return Ok(());
        }
        LazyKind::Keys => "dict_keys([",
        LazyKind::Values => "dict_values([",
        LazyKind::Items => "dict_items([",
    });
    for (index, item) in lazy.items.iter().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        repr(out, item, depth + 1)?;
    }
    out.push_str("])");
    Ok(())
}

fn repr_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` of a character.
pub(super) fn is_printable(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    c == ' '
        || !matches!(
            get_general_category(c),
            Control
                | Format
                | LineSeparator
                | ParagraphSeparator
                | PrivateUse
                | SpaceSeparator
                | Surrogate
                | Unassigned
        )
}

/// A float as Python's `repr` writes it: shortest digits, at least two in an exponent.
pub(super) fn python_float(number: f64) -> String {
    if !number.is_finite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return if number.is_nan() { "nan".into() } else { format!("{sign}inf") };
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
        assert_eq!(python_float(f64::INFINITY), "inf");
    }
}
