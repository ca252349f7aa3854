//! Block formats of GGUF tensors: sizes, names, and one file per family that decodes a block.

mod blocks32;
mod codebook;
mod k_quants;
mod parts;
#[cfg(any(test, feature = "selftest", feature = "gpu"))]
pub mod random;
#[cfg(test)]
mod tests;

pub use codebook::{IQ4_VALUES, MXFP4_VALUES};
pub use parts::{Parts, dequantise_block, dequantise_row};

use crate::error::{ChordError, ErrorCode, Result};

/// Tensor types, with the numbers of ggml's `enum ggml_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Dtype {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
}

impl Dtype {
    /// Every supported type.
    pub const ALL: [Dtype; 17] = {
        use Dtype::*;
        [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ4_NL, IQ4_XS, MXFP4]
    };

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
        match self {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::Q4_0 => 2,
            Dtype::Q4_1 => 3,
            Dtype::Q5_0 => 6,
            Dtype::Q5_1 => 7,
            Dtype::Q8_0 => 8,
            Dtype::Q2_K => 10,
            Dtype::Q3_K => 11,
            Dtype::Q4_K => 12,
            Dtype::Q5_K => 13,
            Dtype::Q6_K => 14,
            Dtype::Q8_K => 15,
            Dtype::IQ4_NL => 20,
            Dtype::IQ4_XS => 23,
            Dtype::BF16 => 30,
            Dtype::MXFP4 => 39,
        }
    }

    /// Values in a block.
    pub fn block_values(self) -> usize {
        match self {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => 1,
            Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q8_0 | Dtype::IQ4_NL | Dtype::MXFP4 => 32,
            Dtype::Q2_K | Dtype::Q3_K | Dtype::Q4_K | Dtype::Q5_K | Dtype::Q6_K | Dtype::Q8_K | Dtype::IQ4_XS => 256,
        }
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::Q4_0 | Dtype::IQ4_NL => 18,
            Dtype::Q4_1 => 20,
            Dtype::Q5_0 => 22,
            Dtype::Q5_1 => 24,
            Dtype::Q8_0 => 34,
            Dtype::MXFP4 => 17,
            Dtype::Q2_K => 84,
            Dtype::Q3_K => 110,
            Dtype::Q4_K => 144,
            Dtype::Q5_K => 176,
            Dtype::Q6_K => 210,
            Dtype::Q8_K => 292,
            Dtype::IQ4_XS => 136,
        }
    }

    /// The name that llama.cpp prints.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::Q4_0 => "Q4_0",
            Dtype::Q4_1 => "Q4_1",
            Dtype::Q5_0 => "Q5_0",
            Dtype::Q5_1 => "Q5_1",
            Dtype::Q8_0 => "Q8_0",
            Dtype::Q2_K => "Q2_K",
            Dtype::Q3_K => "Q3_K",
            Dtype::Q4_K => "Q4_K",
            Dtype::Q5_K => "Q5_K",
            Dtype::Q6_K => "Q6_K",
            Dtype::Q8_K => "Q8_K",
            Dtype::IQ4_NL => "IQ4_NL",
            Dtype::IQ4_XS => "IQ4_XS",
            Dtype::MXFP4 => "MXFP4",
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
const UNSUPPORTED: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

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
