//! Block formats of GGUF tensors: one file a format, and what is derived from all of them.

mod blocks;
mod book;
mod decoded;
mod format;
mod formats;
mod interleave;
#[cfg(feature = "gpu")]
mod planes;
#[cfg(any(test, feature = "random"))]
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

/// A type that a file names and nothing here reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name in ggml, or `unknown`.
    pub name: &'static str,
    /// Whether files held it once, and no reader of today takes it.
    pub is_removed: bool,
}

impl Dtype {
    /// The type with this number in a GGUF file.
    pub fn from_ggml(id: u32) -> Result<Dtype, Unsupported> {
        let named = |list: &[(u32, &'static str)]| list.iter().find(|(n, _)| *n == id).map(|(_, name)| *name);
        Dtype::ALL.into_iter().find(|t| t.ggml_id() == id).ok_or_else(|| Unsupported {
            name: named(UNSUPPORTED).or(named(REMOVED)).unwrap_or("unknown"),
            is_removed: named(REMOVED).is_some(),
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
