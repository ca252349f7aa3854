//! Jinja2's filters that sort and group, with Python's order of values.

use std::cmp::Ordering;

use minijinja::value::{Object, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Call, flag};
use super::items::{ITEMS_PER_FUEL, attribute, field, generator, items, pairs};
use super::text::{is_list, type_name};

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

pub(super) fn sort(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [reverse, case_sensitive, path] = call.bind(["reverse", "case_sensitive", "attribute"], 0)?;
    let keyed = items(state, value)?.into_iter();
    let keyed = keyed.map(|item| Ok((key(&item, path.as_ref(), flag(&case_sensitive, false))?, item)));
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::from(sorted(state, keyed, flag(&reverse, false))?))
}

pub(super) fn extreme(state: &mut State, value: &Value, call: &Call, wanted: Ordering) -> Result<Value, Error> {
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

pub(super) fn unique(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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

pub(super) fn dictsort(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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

pub(super) fn groupby(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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
