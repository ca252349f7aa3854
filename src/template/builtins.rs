//! The tests and functions that chat templates use, registered one by one: what no template needs
//! (markup, file sizes, random choice) would only lengthen the page's download.

use super::args::Call;
use super::items::items;
use super::text::{is_namespace, type_name};
use minijinja::value::{Enumerator, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions, tests};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Registers the tests and functions.
pub(super) fn add(environment: &mut Environment) {
    add_tests(environment);
    environment.add_function("range", range);
    environment.add_function("dict", |state: &State, args: Rest<ValueOrKwargs>| {
        Ok::<_, Error>(Value::from_pairs(dictionary("dict()", state, args)?))
    });
    environment.add_function("namespace", |state: &State, args: Rest<ValueOrKwargs>| {
        let fields = Value::from_pairs(dictionary("namespace()", state, args)?);
        functions::namespace(Some(ValueOrKwargs::from(fields)))
    });
    environment.add_function("joiner", |args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        let [separator] = Call::new("joiner()", &args)?.bind(["sep"], 0)?;
        let separator = separator.unwrap_or_else(|| Value::from(", "));
        Ok::<_, Error>(Value::from_object(Joiner { separator, calls: AtomicUsize::new(0) }))
    });
    environment.add_function("cycler", |values: Rest<Value>| {
        if values.is_empty() {
            return Err(Error::new(ErrorKind::MissingArgument, "cycler() needs values"));
        }
        Ok(Value::from_object(Cycler { values: values.to_vec(), place: AtomicUsize::new(0) }))
    });
}

fn add_tests(environment: &mut Environment) {
    type OneOperand = fn(&Value) -> bool;
    let on_value: [(&'static str, OneOperand); 19] = [
        ("undefined", tests::is_undefined),
        ("defined", tests::is_defined),
        ("none", tests::is_none),
        ("boolean", tests::is_boolean),
        ("number", |value| tests::is_number(value) || tests::is_boolean(value)),
        ("integer", tests::is_integer),
        ("float", tests::is_float),
        ("string", tests::is_string),
        ("sequence", is_sequence),
        ("iterable", is_iterable),
        ("mapping", |value| tests::is_mapping(value) && !is_namespace(value)),
        ("true", tests::is_true),
        ("false", tests::is_false),
        ("odd", |value| tests::is_odd(value.clone())),
        ("even", |value| tests::is_even(value.clone())),
        ("callable", |value| matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)),
        ("escaped", Value::is_safe),
        ("lower", |value| cased(value, char::is_lowercase, char::is_uppercase)),
        ("upper", |value| cased(value, char::is_uppercase, char::is_lowercase)),
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
        ("lessthan", tests::is_lt),
        ("<", tests::is_lt),
        ("le", tests::is_le),
        ("<=", tests::is_le),
        ("gt", tests::is_gt),
        ("greaterthan", tests::is_gt),
        (">", tests::is_gt),
        ("ge", tests::is_ge),
        (">=", tests::is_ge),
        ("sameas", tests::is_sameas),
        ("divisibleby", tests::is_divisibleby),
    ];
    for (name, test) in on_two {
        environment.add_test(name, test);
    }
    environment.add_test("in", tests::is_in);
    environment.add_test("filter", |state: &State, name: &str| tests::is_filter(state, name));
    environment.add_test("test", |state: &State, name: &str| tests::is_test(state, name));
}

/// What Python can iterate over. Jinja2's undefined is empty.
fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Iterable => true,
        ValueKind::Map => !is_namespace(value),
        _ => false,
    }
}

/// What has a length and can be indexed: dictionaries and text too, but no generator.
fn is_sequence(value: &Value) -> bool {
    is_iterable(value) && super::text::Lazy::of(value).is_none()
}

fn cased(value: &Value, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    value.as_str().is_some_and(|text| text.chars().any(wanted) && !text.chars().any(other))
}

/// A list rather than minijinja's lazy range, which is walked without paying when it is sliced.
fn range(state: &State, lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<Value, Error> {
    super::bounds::solid(state, &functions::range(lower, upper, step)?)
}

/// The fields of `dict(…)` and `namespace(…)`: a dictionary or a list of pairs, then keywords.
fn dictionary(name: &str, state: &State, args: Rest<ValueOrKwargs>) -> Result<Vec<(Value, Value)>, Error> {
    let args = args.into_values();
    let call = Call::new(name, &args)?;
    let (positional, keywords) = call.all();
    let mut fields = Vec::new();
    match positional {
        [] => {}
        [first] if first.kind() == ValueKind::Map => {
            for key in items(state, first)? {
                let value = first.get_item(&key)?;
                fields.push((key, value));
            }
        }
        [first] => {
            for pair in items(state, first)? {
                let [key, value] = <[Value; 2]>::try_from(items(state, &pair)?)
                    .map_err(|_| call.refuse(format!("needs pairs, not {}", type_name(&pair))))?;
                fields.push((key, value));
            }
        }
        _ => return Err(call.fault(ErrorKind::TooManyArguments, "takes at most one argument without a name")),
    }
    fields.extend(keywords.iter().map(|(key, value)| (Value::from(key.as_str()), value.clone())));
    Ok(fields)
}

/// Jinja2's `joiner(", ")`: empty when it is called first, then the separator.
#[derive(Debug)]
struct Joiner {
    separator: Value,
    calls: AtomicUsize,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        Call::new("joiner", args)?.none()?;
        Ok(if self.calls.fetch_add(1, Ordering::Relaxed) == 0 { Value::from("") } else { self.separator.clone() })
    }
}

/// Jinja2's `cycler(a, b, …)`.
#[derive(Debug)]
struct Cycler {
    values: Vec<Value>,
    place: AtomicUsize,
}

impl Cycler {
    fn current(&self) -> Value {
        self.values[self.place.load(Ordering::Relaxed) % self.values.len()].clone()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.current())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        Call::new(method, args)?.none()?;
        match method {
            "next" => {
                let value = self.current();
                self.place.fetch_add(1, Ordering::Relaxed);
                Ok(value)
            }
            "reset" => {
                self.place.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// Jinja2's tests by name for `select` and its kin.
pub(super) fn holds(state: &mut State, name: &str, value: Value, more: &[Value]) -> Result<bool, Error> {
    let mut args = vec![value];
    args.extend(more.iter().cloned());
    state.perform_test(name, &args).map_err(|error| match error.kind() {
        ErrorKind::UnknownTest => Error::new(ErrorKind::UnknownTest, format!("there is no test '{name}'")),
        _ => error,
    })
}
