//! The filters, tests and functions that chat templates use.
//!
//! They are registered one by one, rather than all that minijinja has, because those that no
//! template needs (formatting in the manner of `printf`, grouping, pretty printing, …) would be a
//! tenth of the page's download. Tests and filters of one signature share one list, and so one
//! instance of the glue code.

use super::source::solid;
use minijinja::value::{Kwargs, Rest, StringInput, ValueKind};
use minijinja::{Environment, Error, State, Value, filters, functions, tests};

type OnValue = fn(&State, &Value) -> Result<Value, Error>;
type OnText = fn(StringInput<'_>) -> Value;
type OnKwargs = fn(&State, Value, Kwargs) -> Result<Value, Error>;

/// Registers everything.
pub(super) fn add(environment: &mut Environment) {
    add_filters(environment);
    add_tests(environment);
    environment.add_function("range", range);
    environment.add_function("dict", functions::dict);
    environment.add_function("namespace", functions::namespace);
}

fn add_filters(environment: &mut Environment) {
    let on_value: [(&'static str, OnValue); 10] = [
        ("length", |state, value| Ok(Value::from(filters::length(&solid(state, value)?)?))),
        ("count", |state, value| Ok(Value::from(filters::length(&solid(state, value)?)?))),
        ("first", |state, value| filters::first(&solid(state, value)?)),
        ("last", |state, value| filters::last(solid(state, value)?)),
        ("reverse", |state, value| filters::reverse(&solid(state, value)?)),
        ("items", |state, value| filters::items(&solid(state, value)?)),
        ("list", |state, value| filters::list(state, value.clone())),
        ("string", filters::string),
        ("bool", |state, value| Ok(Value::from(filters::bool(state, value)?))),
        ("abs", |_, value| filters::abs(value.clone())),
    ];
    for (name, filter) in on_value {
        environment.add_filter(name, filter);
    }
    let on_text: [(&'static str, OnText); 4] = [
        ("upper", filters::upper),
        ("lower", filters::lower),
        ("capitalize", filters::capitalize),
        ("title", |text| Value::from(filters::title(text.as_str().into()))),
    ];
    for (name, filter) in on_text {
        environment.add_filter(name, filter);
    }
    let on_kwargs: [(&'static str, OnKwargs); 5] = [
        ("min", filters::min),
        ("max", filters::max),
        ("sort", filters::sort),
        ("unique", filters::unique),
        ("dictsort", |state, value, kwargs| filters::dictsort(&solid(state, &value)?, kwargs)),
    ];
    for (name, filter) in on_kwargs {
        environment.add_filter(name, filter);
    }
    for name in ["default", "d"] {
        environment.add_filter(name, filters::default as fn(&State, &Value, Rest<Value>) -> Result<Value, Error>);
    }
    for name in ["escape", "e"] {
        environment.add_filter(name, filters::escape as fn(&mut State, &Value) -> Result<Value, Error>);
    }
    environment.add_filter("safe", filters::safe);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("join", filters::join);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("map", filters::map);
    environment.add_filter("indent", indent);
    add_selections(environment);
}

fn add_selections(environment: &mut Environment) {
    environment.add_filter("select", filters::select);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("selectattr", filters::selectattr);
    environment.add_filter("rejectattr", filters::rejectattr);
}

fn add_tests(environment: &mut Environment) {
    type OneOperand = fn(&Value) -> bool;
    let on_value: [(&'static str, OneOperand); 16] = [
        ("undefined", tests::is_undefined),
        ("defined", tests::is_defined),
        ("none", tests::is_none),
        ("boolean", tests::is_boolean),
        ("number", tests::is_number),
        ("integer", tests::is_integer),
        ("float", tests::is_float),
        ("string", tests::is_string),
        ("sequence", tests::is_sequence),
        ("iterable", tests::is_iterable),
        ("mapping", tests::is_mapping),
        ("true", tests::is_true),
        ("false", tests::is_false),
        ("odd", |value| tests::is_odd(value.clone())),
        ("even", |value| tests::is_even(value.clone())),
        ("callable", |value| value.kind() == ValueKind::Plain),
    ];
    for (name, test) in on_value {
        environment.add_test(name, test);
    }
    type TwoOperands = fn(&Value, &Value) -> bool;
    let on_two: [(&'static str, TwoOperands); 17] = [
        ("eq", tests::is_eq),
        ("equalto", tests::is_eq),
        ("==", tests::is_eq),
        ("ne", tests::is_ne),
        ("!=", tests::is_ne),
        ("lt", tests::is_lt),
        ("<", tests::is_lt),
        ("le", tests::is_le),
        ("<=", tests::is_le),
        ("gt", tests::is_gt),
        (">", tests::is_gt),
        ("ge", tests::is_ge),
        (">=", tests::is_ge),
        ("sameas", tests::is_sameas),
        ("divisibleby", tests::is_divisibleby),
        ("startingwith", |value, part| affix(value, part, |text, part| text.starts_with(part))),
        ("endingwith", |value, part| affix(value, part, |text, part| text.ends_with(part))),
    ];
    for (name, test) in on_two {
        environment.add_test(name, test);
    }
    environment.add_test("in", tests::is_in);
}

fn affix(value: &Value, part: &Value, test: fn(&str, &str) -> bool) -> bool {
    matches!((value.as_str(), part.as_str()), (Some(text), Some(part)) if test(text, part))
}

/// A list rather than minijinja's lazy range: see [`solid`].
fn range(state: &State, lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<Value, Error> {
    solid(state, &functions::range(lower, upper, step)?)
}

/// Jinja2's `indent(width=4, first=false, blank=false)`.
fn indent(
    state: &State,
    text: &str,
    width: Option<usize>,
    first: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = options.get::<Option<usize>>("width")?.or(width).unwrap_or(4).min(64);
    let first = options.get::<Option<bool>>("first")?.or(first).unwrap_or(false);
    let blank = options.get::<Option<bool>>("blank")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        state.consume_fuel(1 + (line.len() / 64) as u64)?;
        if index > 0 {
            out.push('\n');
        }
        if if index == 0 { first } else { blank || !line.is_empty() } {
            out.extend(std::iter::repeat_n(' ', width));
        }
        out.push_str(line);
    }
    Ok(out)
}
