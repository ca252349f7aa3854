//! The methods of Python's `str`, `dict` and `list` that chat templates call.
//!
//! Each pays fuel for the text it reads and for what it is about to make before making it, so a
//! template cannot use them to do unbounded work or to fill the memory.

use minijinja::value::{Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::Call;
use super::bounds::sliceable;
use super::guard::Guarding;
use super::items::items;
use super::printf::printf;
use super::source::{ATTRIBUTE_METHOD, PERCENT_METHOD, SOLID_METHOD};
use super::strings::{ITEM_BYTES, pay, places, str_format, string, unknown};
use super::text::{BoundMethod, Lazy, LazyKind, is_list, is_namespace, python_str, type_name};

/// Called by minijinja for methods that it does not know itself.
pub(super) fn call(
    guarding: &Guarding,
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        SOLID_METHOD => return sliceable(state, value),
        ATTRIBUTE_METHOD => return method_or_field(value, args),
        PERCENT_METHOD => return percent(state, value, args),
        _ => {}
    }
    let named = format!("{}.{method}()", type_name(value));
    let call = Call::new(&named, args)?;
    match value.as_str() {
        Some(text) => {
            pay(state, text.len())?;
            match method {
                "replace" => replace(guarding, state, text, &call, ["/old", "/new", "count"]),
                "format" => str_format(text, args),
                _ => string(state, text, method, &call),
            }
        }
        None => match value.kind() {
            ValueKind::Undefined => {
                Err(Error::new(ErrorKind::UndefinedError, format!("undefined has no method '{method}'")))
            }
            ValueKind::Map if !is_namespace(value) => map(state, value, method, &call),
            _ if is_list(value) => list(state, value, method, &call),
            _ => Err(unknown(value, method)),
        },
    }
}

/// The methods of dictionaries win over their keys where a dot asks for them, as in Jinja2.
fn method_or_field(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let name = args.first().and_then(Value::as_str).unwrap_or_default();
    if value.kind() == ValueKind::Map && !is_namespace(value) {
        return Ok(Value::from_object(BoundMethod { owner: value.clone(), name: name.to_owned() }));
    }
    value.get_attr(name)
}

/// The operator `%` behind a text.
fn percent(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let args = match args {
        [one] if one.is_tuple() => items(state, one)?,
        [one] if one.kind() == ValueKind::Map => {
            let mut fields = Vec::new();
            for key in items(state, one)? {
                fields.push((python_str(&key)?, one.get_item(&key)?));
            }
            vec![minijinja::value::Kwargs::from_iter(fields).into()]
        }
        _ => args.to_vec(),
    };
    printf(state, value, Rest(args.into_iter().map(ValueOrKwargs::from).collect()))
}

/// The filter `replace`, which makes text of what it is given.
pub(super) fn replace_filter(
    guarding: &Guarding,
    state: &State,
    value: &Value,
    args: &[Value],
) -> Result<Value, Error> {
    let call = Call::new("replace", args)?;
    let [old, new, count] = call.bind(["old", "new", "count"], 2)?;
    let text = |value: Option<Value>| Ok::<_, Error>(Value::from(python_str(&value.unwrap_or_default())?));
    let args = [text(old)?, text(new)?, count.unwrap_or_else(|| Value::from(()))];
    replace(guarding, state, &python_str(value)?, &Call::new("replace", &args)?, ["old", "new", "count"])
}

fn replace(guarding: &Guarding, state: &State, text: &str, call: &Call, names: [&str; 3]) -> Result<Value, Error> {
    let [old, new, most] = call.bind(names, 2)?;
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let (old, new) = (call.text(&old)?, call.text(&new)?);
    let most = call.integer(most.as_ref())?.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
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

fn map(state: &mut State, value: &Value, method: &str, call: &Call) -> Result<Value, Error> {
    if method == "get" {
        let [key, default] = call.bind(["/key", "/default"], 1)?;
        let found = value.get_item(&key.unwrap_or_default())?;
        return Ok(if found.is_undefined() { default.unwrap_or_else(|| Value::from(())) } else { found });
    }
    let kind = match method {
        "items" => LazyKind::Items,
        "keys" => LazyKind::Keys,
        "values" => LazyKind::Values,
        "copy" => {
            call.none()?;
            return Ok(value.clone());
        }
        // A function that stands under a key.
        _ => match value.get_attr(method).ok().filter(|field| !field.is_undefined()) {
            Some(field) if field.kind() == ValueKind::Plain => {
                let args = call.all().0.to_vec();
                return field.call(state, &args);
            }
            _ => return Err(unknown(value, method)),
        },
    };
    call.none()?;
    pay(state, value.len().unwrap_or(0).saturating_mul(ITEM_BYTES))?;
    let mut out = Vec::new();
    for key in value.try_iter()? {
        out.push(match kind {
            LazyKind::Keys => key,
            LazyKind::Values => value.get_item(&key)?,
            _ => Value::from(Tuple::from([key.clone(), value.get_item(&key)?])),
        });
    }
    Ok(Lazy::value(kind, out))
}

fn list(state: &State, value: &Value, method: &str, call: &Call) -> Result<Value, Error> {
    let wanted = match method {
        "count" | "index" => {
            let [wanted] = call.bind(["/value"], 1)?;
            wanted.unwrap_or_default()
        }
        "copy" if !value.is_tuple() => {
            call.none()?;
            return Ok(value.clone());
        }
        _ => return Err(unknown(value, method)),
    };
    let mut count = 0usize;
    for (index, item) in value.try_iter()?.enumerate() {
        pay(state, 0)?;
        if item == wanted {
            if method == "index" {
                return Ok(Value::from(index));
            }
            count += 1;
        }
    }
    match method {
        "count" => Ok(Value::from(count)),
        _ => Err(call.refuse("did not find the value")),
    }
}
