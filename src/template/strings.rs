//! The methods of Python's `str`, but for `replace`.

use std::ops::Range;

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Call, flag};
use super::items::items;
use super::printf::{check_widths, printed};
use super::text::{is_list, is_printable, type_name};

/// Bytes of text that one unit of fuel pays for, as in minijinja itself.
const BYTES_PER_FUEL: usize = 64;
/// What one item of a list that a method makes costs, in bytes.
pub(super) const ITEM_BYTES: usize = 64;
/// Wider paddings are of no use.
const WIDTH_MAX: i64 = 4096;

pub(super) fn str_format(text: &str, args: &[Value]) -> Result<Value, Error> {
    check_widths(text)?;
    let args = args.iter().cloned().map(|arg| if text.contains('[') { Ok(arg) } else { printed(arg) });
    Ok(Value::from(format(FormatStyle::StrFormat, text, &args.collect::<Result<Vec<_>, _>>()?)?))
}

pub(super) fn string(state: &mut State, text: &str, method: &str, call: &Call) -> Result<Value, Error> {
    match method {
        "strip" | "lstrip" | "rstrip" => strip(text, method, call),
        "split" | "rsplit" => split(state, text, method == "rsplit", call),
        "splitlines" => splitlines(state, text, call),
        "partition" | "rpartition" => partition(state, text, method == "rpartition", call),
        "startswith" | "endswith" => affix(state, text, method == "startswith", call),
        "removeprefix" | "removesuffix" => {
            let [affix] = call.bind(["/affix"], 1)?;
            let affix = affix.unwrap_or_default();
            let affix = call.text(&affix)?;
            let rest = if method == "removeprefix" { text.strip_prefix(affix) } else { text.strip_suffix(affix) };
            Ok(Value::from(rest.unwrap_or(text)))
        }
        "join" => join(state, text, call),
        "find" | "rfind" | "index" | "rindex" | "count" => find(state, text, method, call),
        "center" | "ljust" | "rjust" => pad(text, method, call),
        "zfill" => zfill(text, call),
        _ => cased(text, method, call),
    }
}

/// Methods without arguments that map or test the letters.
fn cased(text: &str, method: &str, call: &Call) -> Result<Value, Error> {
    let all = |test: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(test));
    let value = match method {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "title" => Value::from(title(text)),
        "capitalize" => {
            let mut chars = text.chars();
            let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
            Value::from(first + &chars.as_str().to_lowercase())
        }
        "swapcase" => {
            let swap = |c: char| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        "isdigit" => all(|c| c.is_ascii_digit() || (c.is_numeric() && (is_decimal(c) || is_digit(c)))),
        "isdecimal" => all(is_decimal),
        "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_space),
        "isprintable" => Value::from(text.chars().all(is_printable)),
        "isidentifier" => {
            let word = text.chars().all(|c| c.is_alphanumeric() || c == '_');
            Value::from(word && text.chars().next().is_some_and(|c| !c.is_numeric()))
        }
        "istitle" => Value::from(text.chars().any(char::is_alphabetic) && title(text) == text),
        "islower" => Value::from(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)),
        "isupper" => Value::from(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)),
        "isascii" => Value::from(text.is_ascii()),
        _ => return Err(unknown(&Value::from(""), method)),
    };
    call.none()?;
    Ok(value)
}

fn is_decimal(c: char) -> bool {
    use unicode_general_category::{GeneralCategory, get_general_category};
    get_general_category(c) == GeneralCategory::DecimalNumber
}

/// Digits that are no decimals: superscripts, subscripts and circled ones.
fn is_digit(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '\u{2070}' | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}' | '①'..='⑨')
}

/// Python's white space has four control characters more than Unicode's.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
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

fn strip(text: &str, method: &str, call: &Call) -> Result<Value, Error> {
    let [set] = call.bind(["/chars"], 0)?;
    // A set is looked up for every character, so it is kept short enough for that to be cheap.
    let set = match set.filter(|set| !set.is_none()) {
        Some(set) => Some(call.text(&set)?.chars().take(64).collect::<Vec<_>>()),
        None => None,
    };
    let drop = |c: char| set.as_ref().map_or(is_space(c), |set| set.contains(&c));
    Ok(Value::from(match method {
        "lstrip" => text.trim_start_matches(drop),
        "rstrip" => text.trim_end_matches(drop),
        _ => text.trim_matches(drop),
    }))
}

fn pad(text: &str, method: &str, call: &Call) -> Result<Value, Error> {
    let [width, fill] = call.bind(["/width", "/fill"], 1)?;
    let fill = match &fill {
        Some(fill) => call.text(fill)?.chars().next().unwrap_or(' '),
        None => ' ',
    };
    let width = call.integer(width.as_ref())?.unwrap_or(0).clamp(0, WIDTH_MAX) as usize;
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // As CPython: the odd one stands left if the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count);
    Ok(Value::from(fill(left).chain(text.chars()).chain(fill(missing - left)).collect::<String>()))
}

fn zfill(text: &str, call: &Call) -> Result<Value, Error> {
    let [width] = call.bind(["/width"], 1)?;
    let width = call.integer(width.as_ref())?.unwrap_or(0).clamp(0, WIDTH_MAX) as usize;
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (&text[..1], digits),
        None => ("", text),
    };
    let zeros = width.saturating_sub(text.chars().count());
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
}

/// Where a part occurs, without overlaps, ascending; the first so many or, from the end, the last.
/// An empty part occurs before every character and at the end.
///
/// The only search of this file: every use of the standard library's own `split`, `matches` or
/// `replace` would bring another copy of it into the download.
pub(super) fn places(state: &State, text: &str, part: &str, from_end: bool, most: usize) -> Result<Vec<usize>, Error> {
    let mut found = Vec::new();
    if part.is_empty() && from_end && most == 1 {
        return Ok(vec![text.len()]);
    }
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

fn split(state: &State, text: &str, from_end: bool, call: &Call) -> Result<Value, Error> {
    let [separator, most] = call.bind(["sep", "maxsplit"], 0)?;
    let most = call.integer(most.as_ref())?.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let Some(separator) = separator.filter(|separator| !separator.is_none()) else {
        return split_space(state, text, from_end, most);
    };
    let separator = call.text(&separator)?;
    if separator.is_empty() {
        return Err(call.refuse("needs a separator that is not empty"));
    }
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
    fn trimmed(text: &str, from_end: bool) -> &str {
        if from_end { text.trim_end_matches(is_space) } else { text.trim_start_matches(is_space) }
    }
    let mut rest = trimmed(text, from_end);
    let mut parts: Vec<Value> = Vec::new();
    while !rest.is_empty() {
        pay(state, 0)?;
        let border = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(border) = border.filter(|_| parts.len() < most) else {
            parts.push(Value::from(rest));
            break;
        };
        let (left, right) = rest.split_at(border);
        let (piece, left_over) = if from_end { (right.trim_start_matches(is_space), left) } else { (left, right) };
        parts.push(Value::from(piece));
        rest = trimmed(left_over, from_end);
    }
    if from_end {
        parts.reverse();
    }
    Ok(Value::from(parts))
}

fn partition(state: &State, text: &str, from_end: bool, call: &Call) -> Result<Value, Error> {
    let [separator] = call.bind(["/sep"], 1)?;
    let separator = separator.unwrap_or_default();
    let separator = call.text(&separator)?;
    if separator.is_empty() {
        return Err(call.refuse("needs a separator that is not empty"));
    }
    let parts = match places(state, text, separator, from_end, 1)?.first() {
        Some(&at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_end => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// Lines end as Python's do: at line feeds, carriage returns and six characters more.
fn splitlines(state: &State, text: &str, call: &Call) -> Result<Value, Error> {
    let [keep] = call.bind(["keepends"], 0)?;
    let keep = flag(&keep, false);
    let is_end = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut parts: Vec<Value> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        pay(state, 0)?;
        let end = rest.find(is_end).unwrap_or(rest.len());
        let ending =
            if rest[end..].starts_with("\r\n") { 2 } else { rest[end..].chars().next().map_or(0, char::len_utf8) };
        parts.push(Value::from(&rest[..if keep { end + ending } else { end }]));
        rest = &rest[end + ending..];
    }
    Ok(Value::from(parts))
}

/// The range of bytes between two positions that count characters, as in a slice. `None` if it
/// begins behind the end.
fn window(text: &str, call: &Call, start: Option<&Value>, end: Option<&Value>) -> Result<Option<Range<usize>>, Error> {
    if start.is_none() && end.is_none() {
        return Ok(Some(0..text.len()));
    }
    let length = text.chars().count() as i64;
    let place = |value: Option<i64>, otherwise: i64| match value {
        Some(value) if value < 0 => (value.saturating_add(length)).max(0),
        Some(value) => value,
        None => otherwise,
    };
    let (start, end) = (place(call.integer(start)?, 0), place(call.integer(end)?, length).min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |place: i64| text.char_indices().nth(place as usize).map_or(text.len(), |(at, _)| at);
    Ok(Some(byte(start)..byte(end)))
}

fn affix(state: &State, text: &str, at_start: bool, call: &Call) -> Result<Value, Error> {
    let [affix, start, end] = call.bind(["/affix", "/start", "/end"], 1)?;
    let affix = affix.unwrap_or_default();
    let Some(window) = window(text, call, start.as_ref(), end.as_ref())? else { return Ok(Value::from(false)) };
    let text = &text[window];
    let test = |affix: &str| if at_start { text.starts_with(affix) } else { text.ends_with(affix) };
    if let Some(affix) = affix.as_str() {
        return Ok(Value::from(test(affix)));
    }
    if !affix.is_tuple() {
        return Err(call.refuse(format!("needs a string or a tuple of strings, not {}", type_name(&affix))));
    }
    for affix in items(state, &affix)? {
        pay(state, 0)?;
        if test(call.text(&affix)?) {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn join(state: &State, separator: &str, call: &Call) -> Result<Value, Error> {
    let [parts] = call.bind(["/iterable"], 1)?;
    let mut out = String::new();
    for (index, item) in items(state, &parts.unwrap_or_default())?.into_iter().enumerate() {
        let item = call.text(&item)?;
        pay(state, item.len().saturating_add(separator.len()))?;
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(item);
    }
    Ok(Value::from(out))
}

/// Positions count characters, as in Python.
fn find(state: &State, text: &str, method: &str, call: &Call) -> Result<Value, Error> {
    let [part, start, end] = call.bind(["/sub", "/start", "/end"], 1)?;
    let part = part.unwrap_or_default();
    let part = call.text(&part)?;
    let window = window(text, call, start.as_ref(), end.as_ref())?;
    let most = if method == "count" { usize::MAX } else { 1 };
    let found = match &window {
        Some(window) => places(state, &text[window.clone()], part, method.starts_with('r'), most)?,
        None => Vec::new(),
    };
    match (method, found.first(), window) {
        ("count", ..) => Ok(Value::from(found.len())),
        (_, Some(place), Some(window)) => Ok(Value::from(text[..window.start + place].chars().count())),
        ("find" | "rfind", ..) => Ok(Value::from(-1)),
        _ => Err(call.refuse("did not find the text")),
    }
}

pub(super) fn unknown(value: &Value, method: &str) -> Error {
    let changes = matches!(
        method,
        "append"
            | "extend"
            | "insert"
            | "remove"
            | "pop"
            | "clear"
            | "sort"
            | "reverse"
            | "update"
            | "setdefault"
            | "popitem"
    );
    if changes && (value.kind() == ValueKind::Map || is_list(value)) {
        let message = format!("{}.{method}() would change a value, which templates may not", type_name(value));
        return Error::new(ErrorKind::InvalidOperation, message);
    }
    Error::new(ErrorKind::UnknownMethod, format!("'{}' has no method '{method}'", type_name(value)))
}

pub(super) fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(1 + (bytes / BYTES_PER_FUEL) as u64)
}
