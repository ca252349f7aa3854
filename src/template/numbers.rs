//! Jinja2's filters of numbers.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, State, Value};

use super::args::Call;
use super::items::{field, items};
use super::text::{is_list, type_name};

pub(super) fn int(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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

pub(super) fn float(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
    let [otherwise] = call.bind(["default"], 0)?;
    let found = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(found.map(Value::from).or(otherwise).unwrap_or_else(|| Value::from(0.0)))
}

pub(super) fn round(_: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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

pub(super) fn sum(state: &mut State, value: &Value, call: &Call) -> Result<Value, Error> {
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
