//! Block formats of GGUF tensors: one file a format, and what is derived from all of them.

mod blocks;
mod book;
mod decoded;
mod format;
mod formats;
mod interleave;
#[cfg(feature = "gpu")]
mod planes;
#[cfg(any(test, feature = "selftest", feature = "testing", feature = "gpu"))]
pub mod random;
mod six_bits;
#[cfg(test)]
mod tests;

pub use decoded::{DecodedBlock, dequantise_block, dequantise_row};
pub use format::{Format, Minimums, Quants, Scales, Values};
pub use formats::{Dtype, IQ4_VALUES, MXFP4_VALUES};
pub use interleave::{GROUP_ROWS, Interleaving};
#[cfg(feature = "gpu")]
pub use planes::{CHUNK, PLANES_MAX, Planes};

use crate::error::{ChordError, ErrorCode, Result};

impl Dtype {
    /// The type with this number in a GGUF file, for the tensor `tensor`.
    pub fn from_ggml(id: u32, tensor: &str) -> Result<Dtype> {
        Dtype::ALL.into_iter().find(|t| t.ggml_id() == id).ok_or_else(|| {
            let name = UNSUPPORTED.iter().chain(REMOVED).find(|(n, _)| *n == id).map_or("unknown", |(_, name)| name);
            let hint = match REMOVED.iter().any(|(n, _)| *n == id) {
                true => "was removed from the format; a file in Q4_0 or IQ4_NL takes its place",
                false => "is not supported",
            };
            ChordError::new(
                ErrorCode::UnsupportedTensorType,
                format!("tensor '{tensor}' has type {name} ({id}), which {hint}"),
            )
            .with("tensor", tensor)
            .with("type", name)
            .with("id", id)
        })
    }

    /// ggml's number of the type.
    pub fn ggml_id(self) -> u32 {
        self.format().ggml_id
    }

    /// Values in a block.
    pub const fn block_values(self) -> usize {
        self.format().block_values
    }

    /// Bytes in a block.
    pub const fn block_bytes(self) -> usize {
        self.format().block_bytes
    }

    /// The name that llama.cpp prints.
    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// How values come from small integers; `None` for floats.
    pub const fn quants(self) -> Option<&'static Quants> {
        match &self.format().values {
            Values::Quants(quants) => Some(quants),
            Values::Floats(_) => None,
        }
    }

    /// Bytes of a row of `values` values; `None` if they do not fill whole blocks or overflow.
    pub fn row_bytes(self, values: u64) -> Option<u64> {
        let block = self.block_values() as u64;
        values.is_multiple_of(block).then_some(())?;
        (values / block).checked_mul(self.block_bytes() as u64)
    }
}

/// Names of the types of ggml that are not supported, for error messages.
const UNSUPPORTED: &[(u32, &str)] = &[(9, "Q8_1"), (24, "I8"), (25, "I16"), (26, "I32"), (27, "I64"), (28, "F64")];

/// Names of types that files held once, and no reader of today takes.
const REMOVED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];
