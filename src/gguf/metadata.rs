//! Typed access to the key-value pairs of the header.

use super::{Array, StringArray, Value, shown};
use crate::error::{ChordError, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Most elements that a per-layer array may have: more layers than any model.
const LAYERS_MAX: usize = 4096;

/// Key-value pairs of the header, with typed access. Integers of any width are accepted where an
/// integer is asked for, if the value fits.
///
/// Every access that fails gives `InvalidModel`, naming the key in its message and in `details.key`.
/// The `opt_` twins give `None` for a missing key and still refuse a wrong type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Ordered, because a hash table's growth would break the memory bound of the parser.
    values: BTreeMap<String, Value>,
}

/// Defines the two accessors of a type: for a key that must be there and for one that may be.
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident, $opt_name:ident: $type:ty, $wanted:literal, $convert:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&self, key: &str) -> Result<$type> {
                self.$opt_name(key)?.ok_or_else(|| missing(key))
            }

            $(#[$doc])*
            ///
            /// `None` if the key is missing.
            pub fn $opt_name(&self, key: &str) -> Result<Option<$type>> {
                let Some(value) = self.get(key) else { return Ok(None) };
                let convert: fn(&Value) -> Option<$type> = $convert;
                convert(value).map(Some).ok_or_else(|| wrong(key, value, $wanted))
            }
        )*
    };
}

impl Metadata {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Whether there is a value for `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// All pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds a pair. `InvalidGguf` if the key is there already.
    pub fn insert(&mut self, key: String, value: Value) -> Result<()> {
        match self.values.entry(key) {
            Entry::Occupied(entry) => {
                let key = entry.key();
                Err(ChordError::gguf(format!("key '{}' occurs twice", shown(key))).with("key", key.as_str()))
            }
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
        }
    }

    accessors! {
        /// A string.
        str, opt_str: &str, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        /// An integer from 0 to 2^32 − 1.
        u32, opt_u32: u32, "an integer from 0 to 2^32 - 1", |value| value.as_integer()?.try_into().ok();
        /// An integer from 0 to 2^64 − 1.
        u64, opt_u64: u64, "an integer from 0 to 2^64 - 1", |value| value.as_integer()?.try_into().ok();
        /// An integer from −2^31 to 2^31 − 1.
        i32, opt_i32: i32, "an integer from -2^31 to 2^31 - 1", |value| value.as_integer()?.try_into().ok();
        /// A number; may be NaN or infinite, as the file says.
        f32, opt_f32: f32, "a number", |value| value.as_f64().map(|value| value as f32);
        /// A boolean.
        bool, opt_bool: bool, "a boolean", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        };
        /// An array of any type.
        array, opt_array: &Array, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        };
        /// An array of strings.
        strings, opt_strings: &StringArray, "an array of strings", |value| match value {
            Value::Array(Array::String(strings)) => Some(strings),
            _ => None,
        };
        /// An array of numbers of any type.
        f32s, opt_f32s: Vec<f32>, "an array of numbers", |value| match value {
            Value::Array(Array::F32(values)) => Some(values.clone()),
            _ => elements(value, |value| value.as_f64().map(|value| value as f32)),
        };
        /// An array of integers of any width, each from −2^31 to 2^31 − 1.
        i32s, opt_i32s: Vec<i32>, "an array of integers from -2^31 to 2^31 - 1", |value| {
            elements(value, |value| value.as_integer()?.try_into().ok())
        };
    }

    /// One integer per layer: an array of `layers` elements, or one number for all of them.
    pub fn u32_or_array(&self, key: &str, layers: usize) -> Result<Vec<u32>> {
        self.opt_u32_or_array(key, layers)?.ok_or_else(|| missing(key))
    }

    /// Like [`u32_or_array`](Self::u32_or_array); `None` if the key is missing.
    pub fn opt_u32_or_array(&self, key: &str, layers: usize) -> Result<Option<Vec<u32>>> {
        self.per_layer(key, layers, "integers from 0 to 2^32 - 1", |value| value.as_integer()?.try_into().ok())
    }

    /// One boolean per layer, from an array (of booleans or integers) or one for all of them; `None`
    /// if the key is missing.
    pub fn opt_bool_or_array(&self, key: &str, layers: usize) -> Result<Option<Vec<bool>>> {
        self.per_layer(key, layers, "booleans", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => value.as_integer().map(|value| value != 0),
        })
    }

    /// One number per layer, from an array or one for all of them; `None` if the key is missing.
    pub fn opt_f32_or_array(&self, key: &str, layers: usize) -> Result<Option<Vec<f32>>> {
        self.per_layer(key, layers, "numbers", |value| value.as_f64().map(|value| value as f32))
    }

    /// A value for each layer, converted by `convert`; `wanted` says in errors what it accepts.
    fn per_layer<T: Clone>(
        &self,
        key: &str,
        layers: usize,
        wanted: &str,
        convert: fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        if layers > LAYERS_MAX {
            return Err(
                ChordError::model(format!("{layers} layers; at most {LAYERS_MAX} are supported")).with("key", key)
            );
        }
        let Some(value) = self.get(key) else { return Ok(None) };
        let Value::Array(array) = value else {
            let value = convert(value).ok_or_else(|| wrong(key, value, wanted))?;
            return Ok(Some(vec![value; layers]));
        };
        if array.len() != layers {
            let message = format!("key '{}' has {} elements for {layers} layers", shown(key), array.len());
            return Err(ChordError::model(message).with("key", key));
        }
        let element = |index| array.number(index).as_ref().and_then(convert);
        let values: Option<Vec<T>> = (0..layers).map(element).collect();
        values.map(Some).ok_or_else(|| wrong(key, value, wanted))
    }

    /// Moves an array of strings out, so that a vocabulary is not held twice; its key is gone after.
    /// `None`, leaving what is there, if the key is missing or has another type.
    pub fn take_strings(&mut self, key: &str) -> Option<StringArray> {
        self.opt_strings(key).ok()??;
        match self.values.remove(key)? {
            Value::Array(Array::String(strings)) => Some(strings),
            _ => None,
        }
    }

    /// All pairs for people and programs outside; long arrays as `{type, length}`. To be called
    /// before anything is taken out.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.values.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
    }
}

/// Pairs with distinct keys; the last of equal keys wins.
impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Metadata { values: pairs.into_iter().collect() }
    }
}

/// The elements of an array, each converted; `None` if it is no array or one of them cannot be.
fn elements<T>(value: &Value, convert: fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(array) = value else { return None };
    (0..array.len()).map(|index| convert(&array.number(index)?)).collect()
}

/// The error for a key that must be there.
fn missing(key: &str) -> ChordError {
    ChordError::model(format!("the header has no key '{}'", shown(key))).with("key", key)
}

/// The error for a value of another type or out of range.
fn wrong(key: &str, value: &Value, wanted: &str) -> ChordError {
    let found = match value {
        Value::String(_) => "a string".to_string(),
        Value::Array(array) => format!("an array of {} {}", array.len(), array.type_name()),
        _ => format!("{} ({})", value.to_json(), value.type_name()),
    };
    ChordError::model(format!("key '{}' must be {wanted}, but is {found}", shown(key))).with("key", key)
}
