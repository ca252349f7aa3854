//! A writer of GGUF files for tests and fuzzing, which writes wrong ones just as willingly.

use super::{Array, Value};
use crate::quant::Dtype;

/// A tensor's entry as it is to stand in the file.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    /// Its name, at any length.
    pub name: String,
    /// Fastest-varying first; as many as are given.
    pub dimensions: Vec<u64>,
    /// The type's number, one that no reader knows among them.
    pub ggml_type: u32,
    /// From the start of the data.
    pub offset: u64,
}

/// Builds the bytes of a file. Counts, version and alignment can be set to what does not fit.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The number behind the magic; 3 is right.
    pub version: u32,
    /// Data begins at multiples of it. The key `general.alignment`, which readers need unless it is 32, is the caller's to add.
    pub alignment: u64,
    /// Overrides the number of keys that the header declares.
    pub key_count: Option<u64>,
    /// Overrides the number of tensors that the header declares.
    pub tensor_count: Option<u64>,
    /// Key, and the key with its value as it stands in the file.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    tensors: Vec<TensorEntry>,
    data: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            version: 3,
            alignment: 32,
            key_count: None,
            tensor_count: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }
}

impl Writer {
    /// An empty file of version 3.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Adds a key-value pair.
    pub fn pair(self, key: &str, value: impl Into<Value>) -> Writer {
        let mut bytes = Vec::new();
        write_value(&mut bytes, &value.into());
        self.raw_pair(key.as_bytes(), &bytes)
    }

    /// Adds a key and the raw bytes of its type and value.
    pub fn raw_pair(mut self, key: &[u8], type_and_value: &[u8]) -> Writer {
        let mut bytes = Vec::new();
        write_string(&mut bytes, key);
        bytes.extend_from_slice(type_and_value);
        self.pairs.push((key.to_vec(), bytes));
        self
    }

    /// Takes the pairs with this key away again.
    pub fn without(mut self, key: &str) -> Writer {
        self.pairs.retain(|(name, _)| name != key.as_bytes());
        self
    }

    /// Adds a tensor with its data, placed after the one before it.
    pub fn tensor(mut self, name: &str, dimensions: &[u64], dtype: Dtype, data: &[u8]) -> Writer {
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(data);
        self.data.resize(self.data.len().next_multiple_of(self.alignment as usize), 0);
        self.entry(TensorEntry { name: name.into(), dimensions: dimensions.into(), ggml_type: dtype.ggml_id(), offset })
    }

    /// Adds a tensor of zeros, placed after the one before it.
    pub fn zeros(self, name: &str, dimensions: &[u64], dtype: Dtype) -> Writer {
        let values: u64 = dimensions.iter().product();
        let bytes = values / dtype.block_values() as u64 * dtype.block_bytes() as u64;
        self.tensor(name, dimensions, dtype, &vec![0; bytes as usize])
    }

    /// Adds a tensor's entry without data.
    pub fn entry(mut self, entry: TensorEntry) -> Writer {
        self.tensors.push(entry);
        self
    }

    /// The header, without padding.
    pub fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        self.pairs.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        for tensor in &self.tensors {
            write_string(&mut out, tensor.name.as_bytes());
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|dimension| out.extend(dimension.to_le_bytes()));
            out.extend(tensor.ggml_type.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out
    }

    /// The whole file: header, padding and data.
    pub fn file(&self) -> Vec<u8> {
        let mut out = self.header();
        out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
        out.extend_from_slice(&self.data);
        out
    }
}

/// Writes a length and bytes.
fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The number of a type of value or of elements in the file.
fn type_id(name: &str) -> u32 {
    const NAMES: [&str; 13] =
        ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];
    NAMES.iter().position(|other| *other == name).expect("the name of a type") as u32
}

/// Writes the type and value.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    out.extend(type_id(value.type_name()).to_le_bytes());
    match value {
        Value::String(text) => write_string(out, text.as_bytes()),
        Value::Array(array) => {
            out.extend(type_id(array.type_name()).to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            match array {
                Array::String(strings) => strings.iter().for_each(|string| write_string(out, string)),
                _ => (0..array.len()).filter_map(|index| array.number(index)).for_each(|value| {
                    write_scalar(out, &value);
                }),
            }
        }
        _ => write_scalar(out, value),
    }
}

/// Writes a number.
fn write_scalar(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => out.extend(value.to_le_bytes()),
        Value::I8(value) => out.extend(value.to_le_bytes()),
        Value::U16(value) => out.extend(value.to_le_bytes()),
        Value::I16(value) => out.extend(value.to_le_bytes()),
        Value::U32(value) => out.extend(value.to_le_bytes()),
        Value::I32(value) => out.extend(value.to_le_bytes()),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::Bool(value) => out.push((*value).into()),
        Value::U64(value) => out.extend(value.to_le_bytes()),
        Value::I64(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
        Value::String(_) | Value::Array(_) => unreachable!("not a number"),
    }
}

/// Conversions that make tests read like the file they build.
macro_rules! into_value {
    ($($from:ty => $variant:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Value {
                $variant(value.into())
            }
        })*
    };
}

into_value! {
    u8 => Value::U8, i8 => Value::I8, u16 => Value::U16, i16 => Value::I16, u32 => Value::U32, i32 => Value::I32,
    f32 => Value::F32, bool => Value::Bool, u64 => Value::U64, i64 => Value::I64, f64 => Value::F64,
    &str => Value::String, String => Value::String, Array => Value::Array,
}

impl From<&[&str]> for Value {
    fn from(strings: &[&str]) -> Value {
        Value::Array(Array::String(strings.iter().collect()))
    }
}

/// A small file with every type of value, two tensors and their data.
pub fn sample() -> Writer {
    Writer::new()
        .pair("general.architecture", "llama")
        .pair("test.u8", 7u8)
        .pair("test.i8", -7i8)
        .pair("test.u16", 700u16)
        .pair("test.i16", -700i16)
        .pair("test.u32", 70_000u32)
        .pair("test.i32", -70_000i32)
        .pair("test.f32", 1e-5f32)
        .pair("test.bool", true)
        .pair("test.u64", 1u64 << 40)
        .pair("test.i64", -(1i64 << 40))
        .pair("test.f64", 0.1f64)
        .pair("test.u8s", Array::U8(vec![1, 2, 3]))
        .pair("test.i8s", Array::I8(vec![-1, 2]))
        .pair("test.u16s", Array::U16(vec![1, 1000]))
        .pair("test.i16s", Array::I16(vec![-1000]))
        .pair("test.u32s", Array::U32(vec![1, 1 << 31]))
        .pair("test.i32s", Array::I32(vec![-1, 1, 3]))
        .pair("test.f32s", Array::F32(vec![0.5, -1000.0]))
        .pair("test.bools", Array::Bool(vec![true, false]))
        .pair("test.u64s", Array::U64(vec![1 << 50]))
        .pair("test.i64s", Array::I64(vec![-1]))
        .pair("test.f64s", Array::F64(vec![1.5, 2.5]))
        .pair("test.strings", ["<s>", "", "▁hello"].as_slice())
        .zeros("token_embd.weight", &[32, 3], Dtype::Q8_0)
        .zeros("output_norm.weight", &[5], Dtype::F32)
}

#[path = "../../tests/support/reference.rs"]
mod reference;

pub use reference::reference_data;
