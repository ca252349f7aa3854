//! The methods of Python's `str`, `dict` and `list` that chat templates call.
//!
//! Each pays fuel for the text it reads and for what it is about to make before making it, so a
//! template cannot use them to do unbounded work or to fill the memory.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::guard::Guarding;
use super::source::{SOLID_METHOD, solid};

/// Bytes of text that one unit of fuel pays for, as in minijinja itself.
const BYTES_PER_FUEL: usize = 64;
/// What one item of a list that a method makes costs, in bytes.
const ITEM_BYTES: usize = 64;

/// Called by minijinja for methods that it does not know itself.
pub(super) fn call(
    guarding: &Guarding,
    state: &State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if method == SOLID_METHOD {
        return solid(state, value);
    }
    match value.as_str() {
        Some(text) => {
            pay(state, text.len())?;
            if method == "replace" {
                return replace(guarding, state, text, args);
            }
            string(state, text, method, args)
        }
        None => match value.kind() {
            ValueKind::Map => map(state, value, method, args),
            ValueKind::Seq | ValueKind::Iterable => list(state, value, method, args),
            _ => Err(unknown()),
        },
    }
}

fn unknown() -> Error {
    Error::from(ErrorKind::UnknownMethod)
}

fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(1 + (bytes / BYTES_PER_FUEL) as u64)
}

fn string(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "strip" | "lstrip" | "rstrip" => strip(text, method, args),
        "split" | "rsplit" => split(state, text, method == "rsplit", args),
        "splitlines" => {
            let () = from_args(args)?;
            splitlines(state, text)
        }
        "startswith" | "endswith" => affix(state, text, method == "startswith", args),
        "removeprefix" | "removesuffix" => {
            let (affix,): (&str,) = from_args(args)?;
            let rest = if method == "removeprefix" { text.strip_prefix(affix) } else { text.strip_suffix(affix) };
            Ok(Value::from(rest.unwrap_or(text)))
        }
        "join" => join(state, text, args),
        "find" | "rfind" | "index" | "rindex" => find(state, text, method, args),
        "count" => {
            let (part,): (&str,) = from_args(args)?;
            let count = places(state, text, part, false, usize::MAX)?.len();
            Ok(Value::from(count))
        }
        _ => {
            let () = from_args(args)?;
            cased(text, method)
        }
    }
}

/// Methods without arguments that map or test the letters.
fn cased(text: &str, method: &str) -> Result<Value, Error> {
    let all = |test: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(test));
    Ok(match method {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "casefold" => Value::from(text.to_lowercase()),
        "title" => Value::from(title(text)),
        "capitalize" => {
            let mut chars = text.chars();
            let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
            Value::from(first + &chars.as_str().to_lowercase())
        }
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(char::is_whitespace),
        "islower" => Value::from(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)),
        "isupper" => Value::from(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)),
        "isascii" => Value::from(text.is_ascii()),
        _ => return Err(unknown()),
    })
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn strip(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (set,): (Option<&str>,) = from_args(args)?;
    // A set is looked up for every character, so it is kept short enough for that to be cheap.
    let set = set.map(|set| set.chars().take(64).collect::<Vec<_>>());
    let drop = |c: char| set.as_ref().map_or(c.is_whitespace(), |set| set.contains(&c));
    Ok(Value::from(match method {
        "lstrip" => text.trim_start_matches(drop),
        "rstrip" => text.trim_end_matches(drop),
        _ => text.trim_matches(drop),
    }))
}

/// Where a part occurs, without overlaps, ascending; the first so many or, from the end, the last.
/// An empty part occurs before every character and at the end.
///
/// The only search of this file: every use of the standard library's own `split`, `matches` or
/// `replace` would bring another copy of it into the download.
fn places(state: &State, text: &str, part: &str, from_end: bool, most: usize) -> Result<Vec<usize>, Error> {
    let mut found = Vec::new();
    if part.is_empty() {
        let all = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        for at in all.take(most) {
            pay(state, 0)?;
            found.push(at);
        }
        return Ok(found);
    }
    let mut rest = 0..text.len();
    while found.len() < most {
        let slice = &text[rest.clone()];
        let Some(at) = (if from_end { slice.rfind(part) } else { slice.find(part) }) else { break };
        pay(state, 0)?;
        let at = rest.start + at;
        rest = if from_end { 0..at } else { at + part.len()..text.len() };
        found.push(at);
    }
    if from_end {
        found.reverse();
    }
    Ok(found)
}

fn split(state: &State, text: &str, from_end: bool, args: &[Value]) -> Result<Value, Error> {
    let (separator, most): (&Value, Option<i64>) = match args {
        [] => (&Value::UNDEFINED, None),
        _ => from_args(args)?,
    };
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    if separator.is_none() || separator.is_undefined() {
        return split_space(state, text, from_end, most);
    }
    let separator = separator.as_str().filter(|separator| !separator.is_empty());
    let separator = separator.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "empty separator"))?;
    let mut parts: Vec<Value> = Vec::new();
    let mut start = 0;
    for at in places(state, text, separator, from_end, most)? {
        parts.push(Value::from(&text[start..at]));
        start = at + separator.len();
    }
    parts.push(Value::from(&text[start..]));
    Ok(Value::from(parts))
}

/// Splits at runs of white space; after so many splits the rest stays whole.
fn split_space(state: &State, text: &str, from_end: bool, most: usize) -> Result<Value, Error> {
    let trimmed = |text| if from_end { str::trim_end(text) } else { str::trim_start(text) };
    let mut rest = trimmed(text);
    let mut parts: Vec<Value> = Vec::new();
    while !rest.is_empty() {
        pay(state, 0)?;
        let border = if from_end { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
        let Some(border) = border.filter(|_| parts.len() < most) else {
            parts.push(Value::from(rest));
            break;
        };
        let (left, right) = rest.split_at(border);
        let (piece, left_over) = if from_end { (right.trim_start(), left) } else { (left, right) };
        parts.push(Value::from(piece));
        rest = trimmed(left_over);
    }
    if from_end {
        parts.reverse();
    }
    Ok(Value::from(parts))
}

fn splitlines(state: &State, text: &str) -> Result<Value, Error> {
    let mut parts: Vec<Value> = Vec::new();
    let mut start = 0;
    for end in places(state, text, "\n", false, usize::MAX)?.into_iter().chain([text.len()]) {
        let line = &text[start..end];
        if end < text.len() || !line.is_empty() {
            parts.push(Value::from(line.strip_suffix('\r').unwrap_or(line)));
        }
        start = end + 1;
    }
    Ok(Value::from(parts))
}

fn affix(state: &State, text: &str, at_start: bool, args: &[Value]) -> Result<Value, Error> {
    let (affix,): (&Value,) = from_args(args)?;
    let test = |affix: &str| if at_start { text.starts_with(affix) } else { text.ends_with(affix) };
    if let Some(affix) = affix.as_str() {
        return Ok(Value::from(test(affix)));
    }
    for affix in affix.try_iter()? {
        pay(state, 0)?;
        if affix.as_str().is_some_and(test) {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

/// The method and the filter of this name.
pub(super) fn replace(guarding: &Guarding, state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (old, new, most): (&str, &str, Option<i64>) = from_args(args)?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let places = places(state, text, old, false, most)?;
    pay(state, places.len().saturating_mul(new.len()))?;
    let mut out = String::with_capacity(text.len());
    let mut start = 0;
    for at in places {
        out.push_str(&text[start..at]);
        out.push_str(new);
        start = at + old.len();
    }
    out.push_str(&text[start..]);
    pay(state, text.len() + out.len())?;
    Ok(Value::from(guarding.edited(text, out)))
}

fn join(state: &State, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let (items,): (&Value,) = from_args(args)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item =
            item.as_str().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "join expects strings"))?.to_owned();
        pay(state, item.len().saturating_add(separator.len()))?;
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(&item);
    }
    Ok(Value::from(out))
}

/// Positions count characters, as in Python.
fn find(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (part,): (&str,) = from_args(args)?;
    match places(state, text, part, method.starts_with('r'), 1)?.first() {
        Some(&place) => Ok(Value::from(text[..place].chars().count())),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
    }
}

fn map(state: &State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "get" {
        let (key, default): (&Value, Option<Value>) = from_args(args)?;
        let found = value.get_item(key)?;
        return Ok(if found.is_undefined() { default.unwrap_or_else(|| Value::from(())) } else { found });
    }
    if !matches!(method, "items" | "keys" | "values") {
        return Err(unknown());
    }
    let () = from_args(args)?;
    pay(state, value.len().unwrap_or(0).saturating_mul(ITEM_BYTES))?;
    let mut out = Vec::new();
    for key in value.try_iter()? {
        out.push(match method {
            "keys" => key,
            "values" => value.get_item(&key)?,
            _ => Value::from(vec![key.clone(), value.get_item(&key)?]),
        });
    }
    Ok(Value::from(out))
}

fn list(state: &State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (wanted,): (&Value,) = match method {
        "count" | "index" => from_args(args)?,
        _ => return Err(unknown()),
    };
    let mut count = 0usize;
    for (index, item) in value.try_iter()?.enumerate() {
        pay(state, 0)?;
        if item == *wanted {
            if method == "index" {
                return Ok(Value::from(index));
            }
            count += 1;
        }
    }
    match method {
        "count" => Ok(Value::from(count)),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "value is not in the list")),
    }
}
