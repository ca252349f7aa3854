//! What `shaders/prepare_half.wgsl` and `shaders/prepare_integer.wgsl` are told, and how what they prepare lies.

use super::{Constant, parameters};
use crate::gpu::shaders::Arithmetic;

parameters! {
    /// A slot whose rows are prepared.
    pub struct Prepare {
        /// Quads; 1 for the residual stream.
        src: u32,
        src_stride: u32,
        src_residual: u32,
        /// Chunks of a row.
        chunks: u32,
    }
}

/// Words of a chunk of four tokens in f16: two for each of 32 values, and twelve of scales.
pub const HALF_WORDS: u32 = 76;
/// Words of a chunk of one token in 8-bit integers: eight of bytes, and four of scales.
pub const INTEGER_WORDS: u32 = 12;

/// The constants of an arithmetic.
pub(super) fn constants(arithmetic: Arithmetic) -> &'static [Constant] {
    match arithmetic {
        Arithmetic::Single => &[],
        Arithmetic::Half => &[("PREPARED_WORDS", HALF_WORDS)],
        Arithmetic::Integer => &[("PREPARED_WORDS", INTEGER_WORDS)],
    }
}
