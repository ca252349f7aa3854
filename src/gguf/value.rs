//! The types of metadata values, and arrays that are read piece by piece.

use super::input::{Input, Step, Stop};
use super::{Array, StringArray, Value};
use crate::error::{ChordError, Result};
use std::fmt::Display;

/// A type of metadata value, with the numbers of `enum gguf_metadata_value_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// In the order of their numbers.
    const ALL: [Kind; 13] = {
        use Kind::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
    };

    /// The type with this number, for the value of `key`.
    pub fn from_id(id: u32, key: &str) -> Result<Kind> {
        usize::try_from(id).ok().and_then(|index| Kind::ALL.get(index)).copied().ok_or_else(|| {
            ChordError::gguf(format!("key '{}' has the unknown value type {id}", super::shown(key)))
                .with("key", key)
                .with("type", id)
        })
    }

    /// The least bytes that a value of this type takes in a file.
    pub fn bytes_min(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
            // A type and a length.
            Kind::Array => 12,
        }
    }

    /// Reads a number; `None` for strings and arrays, which have states of their own.
    pub fn scalar(self, input: &mut Input) -> Step<Option<Value>> {
        Ok(Some(match self {
            Kind::U8 => Value::U8(u8::from_le_bytes(input.take()?)),
            Kind::I8 => Value::I8(i8::from_le_bytes(input.take()?)),
            Kind::U16 => Value::U16(u16::from_le_bytes(input.take()?)),
            Kind::I16 => Value::I16(i16::from_le_bytes(input.take()?)),
            Kind::U32 => Value::U32(u32::from_le_bytes(input.take()?)),
            Kind::I32 => Value::I32(i32::from_le_bytes(input.take()?)),
            Kind::F32 => Value::F32(f32::from_le_bytes(input.take()?)),
            Kind::Bool => Value::Bool(boolean(input.take()?)),
            Kind::U64 => Value::U64(u64::from_le_bytes(input.take()?)),
            Kind::I64 => Value::I64(i64::from_le_bytes(input.take()?)),
            Kind::F64 => Value::F64(f64::from_le_bytes(input.take()?)),
            Kind::String | Kind::Array => return Ok(None),
        }))
    }

    /// An empty array of values of this type; `None` for arrays of arrays, which are refused.
    fn empty_array(self) -> Option<Array> {
        Some(match self {
            Kind::U8 => Array::U8(Vec::new()),
            Kind::I8 => Array::I8(Vec::new()),
            Kind::U16 => Array::U16(Vec::new()),
            Kind::I16 => Array::I16(Vec::new()),
            Kind::U32 => Array::U32(Vec::new()),
            Kind::I32 => Array::I32(Vec::new()),
            Kind::F32 => Array::F32(Vec::new()),
            Kind::Bool => Array::Bool(Vec::new()),
            Kind::U64 => Array::U64(Vec::new()),
            Kind::I64 => Array::I64(Vec::new()),
            Kind::F64 => Array::F64(Vec::new()),
            Kind::String => Array::String(StringArray::default()),
            Kind::Array => return None,
        })
    }
}

/// Any byte but 0 is true: the specification knows only 0 and 1, llama.cpp reads it this way.
fn boolean([byte]: [u8; 1]) -> bool {
    byte != 0
}

/// An array that is being read.
pub(super) struct ArrayReader {
    pub values: Array,
    /// Elements still missing, the one in progress included.
    left: u64,
    /// Bytes missing of the string in progress.
    string_left: Option<u64>,
}

impl ArrayReader {
    /// An array of `length` elements for `key`.
    pub fn new(kind: Kind, length: u64, key: &str) -> Result<ArrayReader> {
        let values = kind.empty_array().ok_or_else(|| {
            ChordError::gguf(format!("key '{}' is an array of arrays, which is not supported", super::shown(key)))
                .with("key", key)
        })?;
        Ok(ArrayReader { values, left: length, string_left: None })
    }

    /// Reads to the end of the array. `what` names it in errors.
    pub fn read(&mut self, input: &mut Input, what: impl Display) -> Step<()> {
        let left = &mut self.left;
        match &mut self.values {
            Array::U8(out) => input.numbers(out, left, u8::from_le_bytes),
            Array::I8(out) => input.numbers(out, left, i8::from_le_bytes),
            Array::U16(out) => input.numbers(out, left, u16::from_le_bytes),
            Array::I16(out) => input.numbers(out, left, i16::from_le_bytes),
            Array::U32(out) => input.numbers(out, left, u32::from_le_bytes),
            Array::I32(out) => input.numbers(out, left, i32::from_le_bytes),
            Array::F32(out) => input.numbers(out, left, f32::from_le_bytes),
            Array::Bool(out) => input.numbers(out, left, boolean),
            Array::U64(out) => input.numbers(out, left, u64::from_le_bytes),
            Array::I64(out) => input.numbers(out, left, i64::from_le_bytes),
            Array::F64(out) => input.numbers(out, left, f64::from_le_bytes),
            Array::String(strings) => {
                while *left > 0 {
                    read_string(strings, &mut self.string_left, input, &what)?;
                    *left -= 1;
                }
                Ok(())
            }
        }
    }
}

/// Reads one string of an array; `bytes_left` remembers one of which a part has arrived.
fn read_string(
    strings: &mut StringArray,
    bytes_left: &mut Option<u64>,
    input: &mut Input,
    what: impl Display,
) -> Step<()> {
    let want = match *bytes_left {
        Some(left) => left,
        None => {
            let length = input.u64()?;
            input.check_fits(Some(length), format_args!("string {} of {what}", strings.len()))?;
            length
        }
    };
    let here = input.up_to(want);
    strings.extend_string(here);
    let left = want - here.len() as u64;
    *bytes_left = (left > 0).then_some(left);
    if left > 0 {
        return Err(Stop::NeedMore);
    }
    strings.end_string();
    Ok(())
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(values) => values.len(),
            Array::I8(values) => values.len(),
            Array::U16(values) => values.len(),
            Array::I16(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::F32(values) => values.len(),
            Array::Bool(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I64(values) => values.len(),
            Array::F64(values) => values.len(),
            Array::String(strings) => strings.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements, as people write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::F32(_) => "f32",
            Array::Bool(_) => "bool",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F64(_) => "f64",
            Array::String(_) => "string",
        }
    }

    /// Element `index`, which must be less than [`len`](Self::len). `None` for a string, which
    /// [`StringArray::get`] gives without copying it.
    pub fn number(&self, index: usize) -> Option<Value> {
        Some(match self {
            Array::U8(values) => Value::U8(values[index]),
            Array::I8(values) => Value::I8(values[index]),
            Array::U16(values) => Value::U16(values[index]),
            Array::I16(values) => Value::I16(values[index]),
            Array::U32(values) => Value::U32(values[index]),
            Array::I32(values) => Value::I32(values[index]),
            Array::F32(values) => Value::F32(values[index]),
            Array::Bool(values) => Value::Bool(values[index]),
            Array::U64(values) => Value::U64(values[index]),
            Array::I64(values) => Value::I64(values[index]),
            Array::F64(values) => Value::F64(values[index]),
            Array::String(_) => return None,
        })
    }
}

impl Value {
    /// The type, as people write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::F32(_) => "f32",
            Value::Bool(_) => "bool",
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F64(_) => "f64",
            Value::String(_) => "string",
            Value::Array(_) => "array",
        }
    }

    /// The value of any integer type, widened; `None` for other types.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(value) => value.into(),
            Value::I8(value) => value.into(),
            Value::U16(value) => value.into(),
            Value::I16(value) => value.into(),
            Value::U32(value) => value.into(),
            Value::I32(value) => value.into(),
            Value::U64(value) => value.into(),
            Value::I64(value) => value.into(),
            _ => return None,
        })
    }

    /// The value of any number type as a float; `None` for other types.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(value) => Some(value.into()),
            Value::F64(value) => Some(value),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// The value for people and programs outside: long arrays as `{type, length}`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Bool(value) => (*value).into(),
            // The shortest decimal that gives this float, so that 1e-5 does not become 9.99…e-6.
            Value::F32(value) => value.to_string().parse::<f64>().map_or(serde_json::Value::Null, Into::into),
            Value::F64(value) => (*value).into(),
            Value::U64(value) => (*value).into(),
            Value::String(value) => value.as_str().into(),
            Value::Array(array) => array.to_json(),
            _ => self.as_integer().and_then(|value| i64::try_from(value).ok()).into(),
        }
    }
}

impl Array {
    /// The elements, or `{type, length}` where there are too many to show.
    fn to_json(&self) -> serde_json::Value {
        const SHOWN_MAX: usize = 64;
        if self.len() > SHOWN_MAX {
            return serde_json::json!({ "type": self.type_name(), "length": self.len() });
        }
        match self {
            Array::String(strings) => {
                strings.iter().map(|string| String::from_utf8_lossy(string).into_owned()).collect::<Vec<_>>().into()
            }
            _ => (0..self.len())
                .map(|index| self.number(index).map_or(serde_json::Value::Null, |value| value.to_json()))
                .collect::<Vec<_>>()
                .into(),
        }
    }
}
