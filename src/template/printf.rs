//! Python's `%` formatting, by the filter and by the operator.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value, filters};

use super::text::python_str;

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
