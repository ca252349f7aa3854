//! GGUF: the header of a model file. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use crate::error::Result;
use crate::quant::Dtype;
use std::collections::HashMap;

/// An array of strings in one allocation: vocabularies have hundreds of thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StringArray {
    bytes: Vec<u8>,
    /// End of each string in `bytes`.
    ends: Vec<u32>,
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    U64(u64),
    I64(i64),
    F64(f64),
    String(String),
    Array(Array),
}

/// An array of metadata values of one type. Nested arrays are not used by any model and are refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    String(StringArray),
}

/// Key-value pairs of the header, with typed access.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    values: HashMap<String, Value>,
}

/// A tensor's place and shape. All sizes are checked: they do not overflow and lie within the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    /// Fastest-varying first, as in the file; 1 to 4 of them, each at least 1.
    pub dimensions: Vec<u64>,
    pub dtype: Dtype,
    /// Number of the file part, 0 unless the model is split.
    pub part: u16,
    /// From the start of that file, in bytes.
    pub offset: u64,
    pub bytes: u64,
}

/// A parsed header. For a split model, the headers of all parts joined.
#[derive(Clone, Debug)]
pub struct Header {
    pub version: u32,
    pub metadata: Metadata,
    pub tensors: Vec<TensorInfo>,
}
