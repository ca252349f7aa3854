//! Jinja2's filters, with its parameters and Python's idea of values.

use super::args::{Call, flag};
use super::builtins::holds;
use super::items::{ITEMS_PER_FUEL, attribute, field, generator, items, lazy_items, paid, pairs};
use super::numbers::{float, int, round, sum};
use super::ordering::{dictsort, extreme, groupby, sort, unique};
use super::printf::printf;
use super::text::{Lazy, LazyKind, python_str, type_name};
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use std::cmp::Ordering;

type Filter = fn(&mut State, &Value, &Call) -> Result<Value, Error>;

/// Wider indents, centred texts and numbers are of no use and would multiply the output.
const WIDTH_MAX: i64 = 4096;

const FILTERS: &[(&str, Filter)] = &[
    ("length", length),
    ("count", length),
    ("first", |state, value, call| {
        call.none()?;
        Ok(items(state, value)?.into_iter().next().unwrap_or_default())
    }),
    ("last", last),
    ("reverse", reverse),
    ("items", |state, value, call| {
        call.none()?;
        Ok(Lazy::value(LazyKind::Generator, pairs(state, value, call)?))
    }),
    ("list", |state, value, call| {
        call.none()?;
        Ok(Value::from(items(state, value)?))
    }),
    ("string", |state, value, call| {
        call.none()?;
        paid(state, python_str(value)?)
    }),
    ("abs", |_, value, call| {
        call.none()?;
        filters::abs(value.clone())
    }),
    ("upper", |state, value, call| method(state, value, call, "upper")),
    ("lower", |state, value, call| method(state, value, call, "lower")),
    ("capitalize", |state, value, call| method(state, value, call, "capitalize")),
    ("title", title),
    ("trim", |state, value, call| {
        let chars = call.bind(["chars"], 0)?;
        let text = Value::from(python_str(value)?);
        text.call_method(state, "strip", chars.first().and_then(Option::as_ref).map_or(&[], std::slice::from_ref))
    }),
    ("safe", |_, value, call| {
        call.none()?;
        Ok(Value::from_safe_string(python_str(value)?))
    }),
    ("escape", escape),
    ("e", escape),
    ("forceescape", escape),
    ("default", default),
    ("d", default),
    ("join", join),
    ("int", int),
    ("float", float),
    ("round", round),
    ("sum", sum),
    ("min", |state, value, call| extreme(state, value, call, Ordering::Less)),
    ("max", |state, value, call| extreme(state, value, call, Ordering::Greater)),
    ("sort", sort),
    ("unique", unique),
    ("dictsort", dictsort),
    ("groupby", groupby),
    ("batch", batch),
    ("slice", slice),
    ("map", map),
    ("select", |state, value, call| select(state, value, call, true)),
    ("reject", |state, value, call| select(state, value, call, false)),
    ("selectattr", |state, value, call| selectattr(state, value, call, true)),
    ("rejectattr", |state, value, call| selectattr(state, value, call, false)),
    ("attr", |_, value, call| {
        // Attributes are not items: dictionaries have only their methods.
        let [name] = call.bind(["name"], 1)?;
        let is_data = matches!(value.kind(), ValueKind::Map) && !super::text::is_namespace(value);
        Ok(if is_data { Value::UNDEFINED } else { field(value, &name.unwrap_or_default())? })
    }),
    ("indent", indent),
    ("center", |state, value, call| {
        let [width] = call.bind(["width"], 0)?;
        let text = Value::from(python_str(value)?);
        text.call_method(state, "center", &[width.unwrap_or_else(|| Value::from(80))])
    }),
    ("truncate", truncate),
    ("wordcount", |state, value, call| {
        call.none()?;
        let text = paid(state, python_str(value)?)?;
        let words = text.as_str().unwrap_or_default().split(|c: char| !(c.is_alphanumeric() || c == '_'));
        Ok(Value::from(words.filter(|word| !word.is_empty()).count()))
    }),
];

/// Registers all filters.
pub(super) fn add(environment: &mut Environment) {
    for &(name, filter) in FILTERS {
        environment.add_filter(name, move |state: &mut State, value: ValueOrKwargs, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            let call = Call::new(name, &args)?;
            filter(state, &value, &call)
        });
    }
    environment.add_filter("format", |state: &mut State, value: ValueOrKwargs, args: Rest<ValueOrKwargs>| {
        printf(state, &value, args)
    });
}

/// A method of the value as text.
fn method(state: &mut State, value: &Value, call: &Call, name: &str) -> Result<Value, Error> {
    call.none()?;
    Value::from(python_str(value)?).call_method(state, name, &[])
}

fn length(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    call.none()?;
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() / 64) as u64)?;
        return Ok(Value::from(text.chars().count()));
    }
    let has_length = match value.kind() {
        ValueKind::Undefined => return Ok(Value::from(0)),
        ValueKind::Iterable => type_name(value) != "generator",
        ValueKind::Map => !super::text::is_namespace(value),
        kind => kind == ValueKind::Seq,
    };
    match value.len() {
        Some(length) if has_length => {
            state.consume_fuel((length / ITEMS_PER_FUEL) as u64)?;
            Ok(Value::from(length))
        }
        _ if has_length => Ok(Value::from(items(state, value)?.len())),
        _ => Err(call.refuse(format!("of '{}': it has no length", type_name(value)))),
    }
}

fn last(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    call.none()?;
    if type_name(value) == "generator" {
        return Err(call.refuse("of 'generator': it is not reversible"));
    }
    Ok(items(state, value)?.pop().unwrap_or_default())
}

fn reverse(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    call.none()?;
    let mut found = items(state, value)?;
    found.reverse();
    match value.as_str() {
        Some(text) => Ok(Value::from(text.chars().rev().collect::<String>())),
        None => generator(found),
    }
}

/// Jinja2's own: words begin after white space, a dash or an opening bracket.
fn title(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    call.none()?;
    let mut out = String::new();
    let mut inside = false;
    for c in python_str(value)?.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = !(c.is_whitespace() || "-({[<".contains(c));
    }
    paid(state, out)
}

fn escape(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    call.none()?;
    paid(state, escaped(&python_str(value)?))
}

/// The text with the entities that markupsafe writes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    out
}

fn default(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [otherwise, boolean] = call.bind(["default_value", "boolean"], 0)?;
    let absent = value.is_undefined() || (flag(&boolean, false) && !value.is_true());
    Ok(if absent { otherwise.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

fn join(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [separator, path] = call.bind(["d", "attribute"], 0)?;
    let separator = separator.map_or(Ok(String::new()), |separator| python_str(&separator))?;
    let mut out = String::new();
    for (index, item) in items(state, value)?.into_iter().enumerate() {
        if index > 0 {
            out.push_str(&separator);
        }
        let item = match path.as_ref().filter(|path| !path.is_none()) {
            Some(path) => field(&item, path)?,
            None => item,
        };
        let text = python_str(&item)?;
        state.consume_fuel(1 + (text.len().saturating_add(separator.len()) / 64) as u64)?;
        out.push_str(&text);
    }
    Ok(Value::from(out))
}

fn batch(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [count, fill] = call.bind(["linecount", "fill_with"], 1)?;
    let count = call.integer(count.as_ref())?.and_then(|count| usize::try_from(count).ok()).unwrap_or(0).max(1);
    let mut rows: Vec<Vec<Value>> = items(state, value)?.chunks(count).map(<[Value]>::to_vec).collect();
    if let (Some(fill), Some(row)) = (fill.filter(|fill| !fill.is_none()), rows.last_mut()) {
        state.consume_fuel((count - row.len()) as u64)?;
        row.resize(count, fill);
    }
    generator(rows.into_iter().map(Value::from).collect())
}

fn slice(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [count, fill] = call.bind(["slices", "fill_with"], 1)?;
    let count = call.integer(count.as_ref())?.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    if count == 0 {
        return Err(call.refuse("needs at least one column"));
    }
    state.consume_fuel(count as u64)?;
    let found = items(state, value)?;
    let (each, longer) = (found.len() / count, found.len() % count);
    let mut rest = found.as_slice();
    let mut columns = Vec::new();
    for index in 0..count {
        let (column, after) = rest.split_at(each + usize::from(index < longer));
        let mut column = column.to_vec();
        column.extend(fill.clone().filter(|fill| !fill.is_none() && index >= longer));
        columns.push(Value::from(column));
        rest = after;
    }
    generator(columns)
}

fn map(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let (positional, keywords) = call.all();
    let found = lazy_items(state, value)?;
    let Some((name, more)) = positional.split_first() else {
        let [path, otherwise] = call.bind(["attribute", "default"], 1)?;
        let path = path.unwrap_or_default();
        let fields = found.iter().map(|item| attribute(item, &path, otherwise.as_ref()));
        return generator(fields.collect::<Result<_, _>>()?);
    };
    let name = call.text(name)?;
    let mut args = vec![Value::UNDEFINED];
    args.extend(more.iter().cloned());
    if !keywords.is_empty() {
        let keywords = keywords.iter().map(|(key, value)| (key.as_str(), value.clone()));
        args.push(minijinja::value::Kwargs::from_iter(keywords).into());
    }
    let mut out = Vec::new();
    for item in found {
        args[0] = item;
        out.push(state.apply_filter(name, &args).map_err(|error| match error.kind() {
            ErrorKind::UnknownFilter => Error::new(ErrorKind::UnknownFilter, format!("there is no filter '{name}'")),
            _ => error,
        })?);
    }
    generator(out)
}

fn select(state: &mut State, value: &Value, call: &Call, wanted: bool) -> Result<Value, Error> {
    let (positional, keywords) = call.all();
    if !keywords.is_empty() {
        return Err(call.fault(ErrorKind::TooManyArguments, format!("takes no argument '{}'", keywords[0].0)));
    }
    let mut kept = Vec::new();
    for item in lazy_items(state, value)? {
        let holds = match positional.split_first() {
            Some((name, more)) => holds(state, call.text(name)?, item.clone(), more)?,
            None => item.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    generator(kept)
}

fn selectattr(state: &mut State, value: &Value, call: &Call, wanted: bool) -> Result<Value, Error> {
    let (positional, keywords) = call.all();
    let [path, test @ ..] = positional else {
        return Err(call.fault(ErrorKind::MissingArgument, "needs an attribute"));
    };
    if !keywords.is_empty() {
        return Err(call.fault(ErrorKind::TooManyArguments, format!("takes no argument '{}'", keywords[0].0)));
    }
    let mut kept = Vec::new();
    for item in lazy_items(state, value)? {
        let own = field(&item, path)?;
        let holds = match test.split_first() {
            Some((name, more)) => holds(state, call.text(name)?, own, more)?,
            None => own.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    generator(kept)
}

/// Jinja2's `indent(width=4, first=false, blank=false)`; the width may be a text.
fn indent(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [width, first, blank] = call.bind(["width", "first", "blank"], 0)?;
    let width = width.unwrap_or_else(|| Value::from(4));
    let indent = match width.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(call.integer(Some(&width))?.unwrap_or(0).clamp(0, WIDTH_MAX) as usize),
    };
    let text = python_str(value)?;
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        state.consume_fuel(1 + ((line.len() + indent.len()) / 64) as u64)?;
        if index > 0 {
            out.push('\n');
        }
        if if index == 0 { flag(&first, false) } else { flag(&blank, false) || !line.is_empty() } {
            out.push_str(&indent);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn truncate(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [length, kill, end, leeway] = call.bind(["length", "killwords", "end", "leeway"], 0)?;
    let length = call.integer(length.as_ref())?.unwrap_or(255).max(0) as usize;
    let leeway = call.integer(leeway.as_ref())?.unwrap_or(5).max(0) as usize;
    let end = end.map_or(Ok("...".to_owned()), |end| python_str(&end))?;
    let text = python_str(value)?;
    let count = text.chars().count();
    if count <= length.saturating_add(leeway) {
        return paid(state, text);
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept =
        if flag(&kill, false) { kept.as_str() } else { kept.rsplit_once(' ').map_or(kept.as_str(), |cut| cut.0) };
    paid(state, kept.to_owned() + &end)
}
