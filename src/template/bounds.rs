//! Bounds of the values that a template makes, and what walking through them costs.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value, filters};

use super::items::ITEMS_PER_FUEL;
use super::text::{BoundMethod, Lazy, type_name};

/// How deep an assigned value may nest: what messages may have, and some containers around them.
const VALUE_DEPTH_MAX: usize = 100;

/// Lets a value pass if it does not nest too deeply. Lazy iterables, which nest without limit when
/// they are sliced again and again, become lists.
///
/// The field of a namespace may not be a namespace: it could contain itself, and would never be
/// freed nor printed to an end.
pub(super) fn bounded(state: &State, value: &Value, field: bool) -> Result<Value, Error> {
    let value = solid(state, value)?;
    Inspection { state, field, items: 0 }.walk(&value, 0)?;
    Ok(value)
}

/// The step of a slice, at most 2^31 − 1 either way: beyond that every slice has one item, and minijinja
/// makes a machine word of it, which would be 0 for 2^32 in 32 bits.
pub(super) fn step(value: &Value) -> Value {
    const MOST: i128 = i32::MAX as i128;
    match i128::try_from(value.clone()) {
        Ok(step) => Value::from(step.clamp(-MOST, MOST) as i64),
        Err(_) => value.clone(),
    }
}

/// Pays for a walk through a value, and makes lazy iterables lists.
///
/// minijinja's lazy iterables are walked without paying when they are sliced: `([1] * 10 ** 15)[10
/// ** 14:]` is made at once, and its first item takes days.
pub(super) fn solid(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Iterable && Lazy::of(value).is_none() {
        return filters::list(state, value.clone());
    }
    let items = value.as_str().map_or_else(|| value.len().unwrap_or(0), |text| text.len() / ITEMS_PER_FUEL);
    state.consume_fuel((items / ITEMS_PER_FUEL) as u64)?;
    Ok(value.clone())
}

/// What a slice is taken of.
pub(super) fn sliceable(state: &State, value: &Value) -> Result<Value, Error> {
    let is_sliceable = match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Bytes => true,
        ValueKind::Iterable => Lazy::of(value).is_none(),
        ValueKind::Undefined => {
            return Err(Error::new(ErrorKind::UndefinedError, "a slice of what is undefined"));
        }
        _ => false,
    };
    if !is_sliceable {
        let message = format!("'{}' object cannot be sliced", type_name(value));
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    solid(state, value)
}

struct Inspection<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    field: bool,
    items: usize,
}

impl Inspection<'_, '_, '_> {
    fn walk(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let Some(object) = value.as_object() else { return Ok(()) };
        if depth > VALUE_DEPTH_MAX {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value nests too deeply"));
        }
        if self.field && object.type_name().ends_with("::Namespace") {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be the field of a namespace"));
        }
        if let Some(lazy) = Lazy::of(value) {
            return lazy.items.iter().try_for_each(|item| self.item(item, depth));
        }
        if let Some(method) = object.downcast_ref::<BoundMethod>() {
            return self.item(&method.owner, depth);
        }
        if let Some(list) = object.downcast_ref::<Vec<Value>>() {
            return list.iter().try_for_each(|item| self.item(item, depth));
        }
        if object.downcast_ref::<Tuple>().is_none() && !matches!(value.kind(), ValueKind::Map | ValueKind::Seq) {
            return Ok(());
        }
        for key in value.try_iter()? {
            match value.kind() {
                ValueKind::Map => self.item(&value.get_item(&key)?, depth)?,
                _ => self.item(&key, depth)?,
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Value, depth: usize) -> Result<(), Error> {
        self.items += 1;
        if self.items.is_multiple_of(ITEMS_PER_FUEL) {
            self.state.consume_fuel(1)?;
        }
        self.walk(item, depth + 1)
    }
}
