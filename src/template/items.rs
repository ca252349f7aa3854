//! What Python iterates over, and the attributes of its items.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::Call;
use super::text::{Lazy, LazyKind, type_name};

/// Items of a list that one unit of fuel pays for.
pub(super) const ITEMS_PER_FUEL: usize = 8;

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
pub(super) fn lazy_items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_true() { items(state, value) } else { Ok(Vec::new()) }
}

pub(super) fn generator(items: Vec<Value>) -> Result<Value, Error> {
    Ok(Lazy::value(LazyKind::Generator, items))
}

/// Pays for a text that was made.
pub(super) fn paid(state: &State, text: String) -> Result<Value, Error> {
    state.consume_fuel(1 + (text.len() / 64) as u64)?;
    Ok(Value::from(text))
}

pub(super) fn pairs(state: &State, value: &Value, call: &Call) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Undefined => return Ok(Vec::new()),
        ValueKind::Map => {}
        _ => return Err(call.refuse(format!("needs a mapping, not '{}'", type_name(value)))),
    }
    let keys = items(state, value)?;
    keys.into_iter().map(|key| Ok(Value::from(Tuple::from([key.clone(), value.get_item(&key)?])))).collect()
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

/// The attribute of a value by a path such as `function.name`.
pub(super) fn field(value: &Value, path: &Value) -> Result<Value, Error> {
    attribute(value, path, None)
}
