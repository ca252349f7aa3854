//! Arguments of filters, methods and functions, bound to names as Python binds them. What is not
//! bound is an error that names it: an argument is never ignored.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

/// A call of a filter, a method or a function.
pub(super) struct Call<'a> {
    name: &'a str,
    positional: &'a [Value],
    keywords: Vec<(String, Value)>,
}

impl<'a> Call<'a> {
    /// Takes minijinja's arguments apart: keywords come last, in one value.
    pub fn new(name: &'a str, args: &'a [Value]) -> Result<Call<'a>, Error> {
        let (positional, keywords) = match args.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, pairs(last)?),
            _ => (args, Vec::new()),
        };
        Ok(Call { name, positional, keywords })
    }

    /// The values of the parameters, in their order. A name that begins with `/` is positional only.
    ///
    /// # Errors
    /// An argument that fits no parameter, or a parameter among the `required` first without one.
    pub fn bind<const N: usize>(&self, names: [&str; N], required: usize) -> Result<[Option<Value>; N], Error> {
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(self.fault(ErrorKind::TooManyArguments, format!("takes at most {N} arguments, not {given}")));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value.clone());
        }
        for (keyword, value) in &self.keywords {
            let place = names.iter().position(|name| name == keyword).filter(|&place| bound[place].is_none());
            let Some(place) = place else {
                return Err(self.fault(ErrorKind::TooManyArguments, format!("takes no argument '{keyword}' here")));
            };
            bound[place] = Some(value.clone());
        }
        match (0..required).find(|&place| bound[place].is_none()) {
            Some(place) => {
                let name = names[place].trim_start_matches('/');
                Err(self.fault(ErrorKind::MissingArgument, format!("needs an argument '{name}'")))
            }
            None => Ok(bound),
        }
    }

    /// For calls without arguments.
    pub fn none(&self) -> Result<(), Error> {
        self.bind([], 0).map(|[]| ())
    }

    /// All arguments, for those who take any.
    pub fn all(&self) -> (&'a [Value], &[(String, Value)]) {
        (self.positional, &self.keywords)
    }

    /// An error that names what was called.
    pub fn fault(&self, kind: ErrorKind, why: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("{} {why}", self.name))
    }

    /// A type error that names what was called.
    pub fn refuse(&self, why: impl std::fmt::Display) -> Error {
        self.fault(ErrorKind::InvalidOperation, why)
    }

    /// An argument that must be text.
    pub fn text<'v>(&self, value: &'v Value) -> Result<&'v str, Error> {
        value.as_str().ok_or_else(|| self.refuse(format!("needs a string, not {}", super::text::type_name(value))))
    }

    /// An argument that must be an integer, and may be none.
    pub fn integer(&self, value: Option<&Value>) -> Result<Option<i64>, Error> {
        match value {
            None => Ok(None),
            Some(value) if value.is_none() => Ok(None),
            Some(value) => i64::try_from(value.clone()).map(Some).map_err(|_| self.refuse("needs an integer")),
        }
    }
}

fn pairs(keywords: &Value) -> Result<Vec<(String, Value)>, Error> {
    let keywords = Kwargs::try_from(keywords.clone())?;
    let names: Vec<String> = keywords.args().map(str::to_owned).collect();
    names.into_iter().map(|name| keywords.get::<Value>(&name).map(|value| (name.clone(), value))).collect()
}

/// True if an optional flag is given and true in Python's sense.
pub(super) fn flag(value: &Option<Value>, otherwise: bool) -> bool {
    value.as_ref().map_or(otherwise, Value::is_true)
}
