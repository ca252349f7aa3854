//! GGUF: the header of a model file. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! The parser is pushed bytes as they arrive and never believes a size before it is compared with
//! what is left of the file; memory grows with the bytes that really came.

mod input;
mod layout;
mod metadata;
mod parser;
mod split;
mod strings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use metadata::Metadata;
pub use parser::{HEADER_BYTES_MAX, KEYS_MAX, Parser, Progress, TENSORS_MAX};
pub use split::{PARTS_MAX, join, part_count, shard_names};
pub use strings::StringArray;

use crate::quant::Dtype;
use std::collections::HashMap;

/// A metadata value. Types are numbered as the format does; all are little-endian.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Type 0 of the format.
    U8(u8),
    /// Type 1.
    I8(i8),
    /// Type 2.
    U16(u16),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U32(u32),
    /// Type 5.
    I32(i32),
    /// Type 6.
    F32(f32),
    /// Type 7: one byte, 0 or 1.
    Bool(bool),
    /// Type 10.
    U64(u64),
    /// Type 11.
    I64(i64),
    /// Type 12.
    F64(f64),
    /// Type 8: a length in 64 bits, and as many bytes of UTF-8.
    String(String),
    /// Type 9: the values' type, their number in 64 bits, and the values.
    Array(Array),
}

/// An array of metadata values of one type, which is a variant of [`Value`]. Nested arrays are not used by any model
/// and are refused.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "a variant for each of `Value`")]
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

/// A tensor's place and shape. All sizes are checked: they do not overflow and lie within the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// At most 64 bytes of text, and no other tensor's: `blk.0.attn_q.weight`.
    pub name: String,
    /// Fastest-varying first, as in the file; 1 to 4 of them, each at least 1.
    pub dimensions: Vec<u64>,
    /// How blocks of the fastest dimension are encoded.
    pub dtype: Dtype,
    /// Number of the file part, 0 unless the model is split.
    pub part: u16,
    /// From the start of that file, in bytes.
    pub offset: u64,
    /// Length of its data, by type and dimensions.
    pub bytes: u64,
}

/// A parsed header. For a split model, the headers of all parts joined.
#[derive(Clone, Debug)]
pub struct Header {
    /// 2 or 3, which differ in nothing that is read here.
    pub version: u32,
    /// Keys and values; of a split model those of its first part.
    pub metadata: Metadata,
    /// In the order of the file, or of the parts.
    pub tensors: Vec<TensorInfo>,
    /// What is wrong with it but does no harm, for people.
    pub warnings: Vec<String>,
}

impl Header {
    /// An index of the tensors by name, for a caller that looks up many.
    pub fn tensors_by_name(&self) -> HashMap<&str, &TensorInfo> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
    }

    /// The tensor with this name; walks the list, so use [`Header::tensors_by_name`] for many.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// A name from the file, fit for an error message: control characters escaped, bounded in length.
pub fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let mut text: String = name.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARACTERS_MAX).is_some() {
        text.push('…');
    }
    text
}
