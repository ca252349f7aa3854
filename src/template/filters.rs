//! Jinja2's filters, with its parameters and Python's idea of values.

use super::args::{Call, flag};
use super::builtins::{field, holds};
use super::text::{Lazy, LazyKind, is_list, python_str, type_name};
use minijinja::value::{Object, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use std::cmp::Ordering;

type Filter = fn(&mut State, &Value, &Call) -> Result<Value, Error>;

/// Wider indents, centred texts and numbers are of no use and would multiply the output.
const WIDTH_MAX: i64 = 4096;
/// Items of a list that one unit of fuel pays for.
const ITEMS_PER_FUEL: usize = 8;

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

/// The items of what Python can iterate over, paid for. Undefined has none.
pub(super) fn items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() / ITEMS_PER_FUEL) as u64)?;
        return Ok(text.chars().map(Value::from).collect());
    }
    let is_iterable = match value.kind() {
        ValueKind::Undefined => return Ok(Vec::new()),
        ValueKind::Map => !super::text::is_namespace(value),
        kind => matches!(kind, ValueKind::Seq | ValueKind::Iterable),
    };
    if !is_iterable {
        let message = format!("'{}' object is not iterable", type_name(value));
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let mut found = Vec::new();
    for item in value.try_iter()? {
        if found.len().is_multiple_of(ITEMS_PER_FUEL) {
            state.consume_fuel(1)?;
        }
        found.push(item);
    }
    Ok(found)
}

/// The items for `map`, `select` and their kin, which see nothing in what is false.
fn lazy_items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_true() { items(state, value) } else { Ok(Vec::new()) }
}

fn generator(items: Vec<Value>) -> Result<Value, Error> {
    Ok(Lazy::value(LazyKind::Generator, items))
}

/// Pays for a text that was made.
fn paid(state: &State, text: String) -> Result<Value, Error> {
    state.consume_fuel(1 + (text.len() / 64) as u64)?;
    Ok(Value::from(text))
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

fn pairs(state: &State, value: &Value, call: &Call) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Undefined => return Ok(Vec::new()),
        ValueKind::Map => {}
        _ => return Err(call.refuse(format!("needs a mapping, not '{}'", type_name(value)))),
    }
    let keys = items(state, value)?;
    keys.into_iter().map(|key| Ok(Value::from(Tuple::from([key.clone(), value.get_item(&key)?])))).collect()
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
    let mut out = String::new();
    for c in python_str(value)?.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    paid(state, out)
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

fn int(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [otherwise, base] = call.bind(["default", "base"], 0)?;
    let base = call.integer(base.as_ref())?.unwrap_or(10);
    let found = match value.as_str() {
        Some(text) => integer(text.trim(), base).or_else(|| {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite())?;
            Some(Value::from(number as i128))
        }),
        None if value.is_integer() => Some(value.clone()),
        None => f64::try_from(value.clone()).ok().filter(|n| n.is_finite()).map(|n| Value::from(n as i128)),
    };
    let flagged = (value.kind() == ValueKind::Bool).then(|| Value::from(i64::from(value.is_true())));
    Ok(flagged.or(found).or(otherwise).unwrap_or_else(|| Value::from(0)))
}

/// Python's `int(text, base)`.
fn integer(text: &str, base: i64) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, _)| lower.starts_with(prefix));
    let (digits, base) = match prefixed {
        Some((_, radix)) if base == 0 || base == radix => (&lower[2..], radix),
        _ => (lower.as_str(), if base == 0 { 10 } else { base }),
    };
    let radix = u32::try_from(base).ok().filter(|radix| (2..=36).contains(radix))?;
    let sound = digits.split('_').all(|part| !part.is_empty() && part.chars().all(|c| c.is_digit(radix)));
    let number = i128::from_str_radix(&digits.replace('_', ""), radix).ok().filter(|_| sound)?;
    Some(Value::from(if negative { -number } else { number }))
}

fn float(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [otherwise] = call.bind(["default"], 0)?;
    let found = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(found.map(Value::from).or(otherwise).unwrap_or_else(|| Value::from(0.0)))
}

fn round(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [precision, method] = call.bind(["precision", "method"], 0)?;
    let precision = call.integer(precision.as_ref())?.unwrap_or(0).clamp(-300, 300) as i32;
    let method = method.unwrap_or_else(|| Value::from("common"));
    let ceil = match method.as_str() {
        Some("common") => None,
        Some("ceil") => Some(true),
        Some("floor") => Some(false),
        _ => return Err(call.refuse("knows the methods common, ceil and floor")),
    };
    if value.kind() != ValueKind::Number {
        return Err(call.refuse(format!("needs a number, not '{}'", type_name(value))));
    }
    if let Some(ceil) = ceil {
        let factor = 10f64.powi(precision);
        let scaled = f64::try_from(value.clone())? * factor;
        return Ok(Value::from(if ceil { scaled.ceil() } else { scaled.floor() } / factor));
    }
    if value.is_integer() && precision >= 0 {
        return Ok(value.clone());
    }
    if value.is_integer() {
        let number = i128::try_from(value.clone())?;
        let unit = 10i128.checked_pow(precision.unsigned_abs()).unwrap_or(i128::MAX);
        let (below, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
        let up = rest > unit / 2 || (rest == unit - rest && below % 2 != 0);
        return Ok(Value::from(below.saturating_add(i128::from(up)).saturating_mul(unit)));
    }
    let number = f64::try_from(value.clone())?;
    if precision < 0 {
        let factor = 10f64.powi(-precision);
        return Ok(Value::from((number / factor).round_ties_even() * factor));
    }
    // Rust rounds the exact decimal expansion half to even, as Python does.
    let digits = usize::try_from(precision).unwrap_or(0);
    Ok(Value::from(format!("{number:.digits$}").parse::<f64>().unwrap_or(number)))
}

fn sum(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [path, start] = call.bind(["attribute", "start"], 0)?;
    let mut total = start.unwrap_or_else(|| Value::from(0));
    for item in items(state, value)? {
        let item = match path.as_ref().filter(|path| !path.is_none()) {
            Some(path) => field(&item, path)?,
            None => item,
        };
        total = add(state, &total, &item, call)?;
    }
    return Ok(total);

    fn add(state: &State, left: &Value, right: &Value, call: &Call) -> Result<Value, Error> {
        if is_list(left) && is_list(right) {
            let mut both = items(state, left)?;
            both.extend(items(state, right)?);
            return Ok(if left.is_tuple() { Value::from(Tuple::from(both)) } else { Value::from(both) });
        }
        let number = |value: &Value| match value.kind() {
            ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
            ValueKind::Number => Some(value.clone()),
            _ => None,
        };
        let (Some(left), Some(right)) = (number(left), number(right)) else {
            return Err(call.refuse(format!("cannot add '{}' and '{}'", type_name(left), type_name(right))));
        };
        if left.is_integer() && right.is_integer() {
            let total = i128::try_from(left)?.checked_add(i128::try_from(right)?);
            return total.map(Value::from).ok_or_else(|| call.refuse("comes to a number too large"));
        }
        Ok(Value::from(f64::try_from(left)? + f64::try_from(right)?))
    }
}

/// Python's order: numbers, strings and lists compare with their kind only.
fn order(left: &Value, right: &Value) -> Result<Ordering, Error> {
    let number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if is_list(left) && is_list(right) && left.is_tuple() == right.is_tuple() {
        let (mut left, mut right) = (left.try_iter()?, right.try_iter()?);
        loop {
            return Ok(match (left.next(), right.next()) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(b)) => order(&a, &b)?,
                (a, b) => a.is_some().cmp(&b.is_some()),
            });
        }
    }
    if (number(left) && number(right)) || (left.as_str().is_some() && right.as_str().is_some()) {
        return Ok(left.cmp(right));
    }
    let message = format!("'{}' and '{}' have no order", type_name(left), type_name(right));
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// What a value is sorted by: an attribute, or several, without regard to case.
fn key(item: &Value, path: Option<&Value>, case_sensitive: bool) -> Result<Value, Error> {
    let fold = |value: Value| match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    };
    let Some(path) = path.filter(|path| !path.is_none()) else { return Ok(fold(item.clone())) };
    match path.as_str().filter(|path| path.contains(',')) {
        Some(paths) => {
            let keys = paths.split(',').map(|path| field(item, &Value::from(path)).map(fold));
            Ok(Value::from(keys.collect::<Result<Vec<_>, _>>()?))
        }
        None => field(item, path).map(fold),
    }
}

/// Sorts by keys, paying for the comparisons.
fn sorted(state: &State, keyed: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>, Error> {
    let rounds = keyed.len().checked_ilog2().unwrap_or(0) as u64 + 1;
    state.consume_fuel(keyed.len() as u64 * rounds / ITEMS_PER_FUEL as u64)?;
    let mut keyed = keyed;
    let mut fault = None;
    keyed.sort_by(|(left, _), (right, _)| {
        let ordering = order(left, right).unwrap_or_else(|error| {
            fault.get_or_insert(error);
            Ordering::Equal
        });
        if reverse { ordering.reverse() } else { ordering }
    });
    match fault {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn sort(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [reverse, case_sensitive, path] = call.bind(["reverse", "case_sensitive", "attribute"], 0)?;
    let keyed = items(state, value)?.into_iter();
    let keyed = keyed.map(|item| Ok((key(&item, path.as_ref(), flag(&case_sensitive, false))?, item)));
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::from(sorted(state, keyed, flag(&reverse, false))?))
}

fn extreme(state: &mut State, value: &Value, call: &Call, wanted: Ordering) -> Result<Value, Error> {
    let [case_sensitive, path] = call.bind(["case_sensitive", "attribute"], 0)?;
    let mut best: Option<(Value, Value)> = None;
    for item in items(state, value)? {
        let key = key(&item, path.as_ref(), flag(&case_sensitive, false))?;
        let better = match &best {
            Some((best, _)) => order(&key, best)? == wanted,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item).unwrap_or_default())
}

fn unique(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [case_sensitive, path] = call.bind(["case_sensitive", "attribute"], 0)?;
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for item in items(state, value)? {
        if seen.insert(key(&item, path.as_ref(), flag(&case_sensitive, false))?) {
            found.push(item);
        }
    }
    generator(found)
}

fn dictsort(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = call.bind(["case_sensitive", "by", "reverse"], 0)?;
    let place = match by.as_ref().map_or(Some("key"), Value::as_str) {
        Some("key") => 0,
        Some("value") => 1,
        _ => return Err(call.refuse("sorts by key or by value")),
    };
    let keyed = pairs(state, value, call)?.into_iter();
    let keyed = keyed.map(|pair| {
        let by = pair.get_item_by_index(place)?;
        Ok((key(&by, None, flag(&case_sensitive, false))?, pair))
    });
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::from(sorted(state, keyed, flag(&reverse, false))?))
}

/// A group of [`groupby`]: a pair that also has names.
#[derive(Debug)]
struct Group([Value; 2]);

impl Object for Group {
    fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Seq
    }

    fn get_value(self: &std::sync::Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some("grouper") => self.0.first().cloned(),
            Some("list") => self.0.last().cloned(),
            _ => self.0.get(key.as_usize()?).cloned(),
        }
    }

    fn enumerate(self: &std::sync::Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Seq(2)
    }

    fn render(self: &std::sync::Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Value::from(Tuple::from(self.0.clone())))
    }
}

fn groupby(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [path, otherwise, case_sensitive] = call.bind(["attribute", "default", "case_sensitive"], 1)?;
    let path = path.unwrap_or_default();
    let mut keyed = Vec::new();
    for item in items(state, value)? {
        let own = attribute(&item, &path, otherwise.as_ref())?;
        keyed.push((key(&own, None, flag(&case_sensitive, false))?, Value::from(vec![own, item])));
    }
    let keys: Vec<Value> = sorted(state, keyed, false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for pair in keys {
        let (own, item) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        let folded = key(&own, None, flag(&case_sensitive, false))?;
        match groups.last_mut() {
            Some((last, _, list)) if *last == folded => list.push(item),
            _ => groups.push((folded, own, vec![item])),
        }
    }
    let groups = groups.into_iter().map(|(_, own, list)| Value::from_object(Group([own, Value::from(list)])));
    Ok(Value::from(groups.collect::<Vec<_>>()))
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

/// What a path such as `function.name` or an index leads to; a default where it leads nowhere.
pub(super) fn attribute(value: &Value, path: &Value, otherwise: Option<&Value>) -> Result<Value, Error> {
    let step = |value: &Value, key: &Value| match value.get_item(key) {
        Ok(found) if found.is_undefined() => otherwise.cloned().unwrap_or_default(),
        Ok(found) => found,
        Err(_) => Value::UNDEFINED,
    };
    let Some(path) = path.as_str() else { return Ok(step(value, path)) };
    let mut value = value.clone();
    for part in path.split('.') {
        if value.is_undefined() {
            return Err(Error::new(ErrorKind::UndefinedError, format!("there is nothing for '.{part}' in '{path}'")));
        }
        let key = part.parse::<i64>().map_or_else(|_| Value::from(part), Value::from);
        value = step(&value, &key);
    }
    Ok(value)
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

/// `%` formatting, by the filter and by the operator.
pub(super) fn printf(state: &mut State, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut text = python_str(value)?;
    check_widths(&text)?;
    let mut args = args.into_values();
    if !args.last().is_some_and(Value::is_kwargs) {
        let used = conversions(&mut text, &mut args)?;
        if used < args.len() {
            let message = format!("the format takes {used} values, not {}", args.len());
            return Err(Error::new(ErrorKind::TooManyArguments, message));
        }
    }
    let args = args.into_iter().map(printed).collect::<Result<Vec<_>, _>>()?;
    let args: Vec<ValueOrKwargs> = args.into_iter().map(ValueOrKwargs::from).collect();
    filters::format(state, &Value::from(text), Rest(args))
}

/// Does what minijinja's formats do not: `%r`, and floats for integers. Tells how many values the
/// format takes.
fn conversions(format: &mut String, args: &mut [Value]) -> Result<usize, Error> {
    let mut used = 0;
    let mut rest = 0;
    while let Some(found) = format[rest..].find('%') {
        let spec = rest + found + 1;
        let Some(length) = format[spec..].find(|c: char| c.is_alphabetic() || c == '%') else { break };
        used += format[spec..spec + length].matches('*').count();
        let (at, letter) = (spec + length, format[spec + length..].chars().next().unwrap_or('%'));
        rest = at + letter.len_utf8();
        if letter == '%' {
            continue;
        }
        if let Some(arg) = args.get_mut(used) {
            match letter {
                'r' | 'a' => {
                    *arg = Value::from(super::text::python_repr(arg)?);
                    format.replace_range(at..rest, "s");
                }
                'd' | 'i' | 'u' if arg.kind() == ValueKind::Number && !arg.is_integer() => {
                    *arg = Value::from(f64::try_from(arg.clone())? as i128);
                }
                _ => {}
            }
        }
        used += 1;
    }
    Ok(used)
}

/// minijinja prints containers in its own way, so they become text beforehand.
pub(super) fn printed(value: Value) -> Result<Value, Error> {
    let is_container = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) || value.is_undefined();
    Ok(if is_container { Value::from(python_str(&value)?) } else { value })
}

/// Refuses widths that would make much out of little.
pub(super) fn check_widths(format: &str) -> Result<(), Error> {
    let mut digits = 0;
    for byte in format.bytes() {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 3 {
            return Err(Error::new(ErrorKind::InvalidOperation, "a format with numbers of more than three digits"));
        }
    }
    Ok(())
}
