//! What a tensor type is: everything that the rest of the crate derives from.

use super::decoded::DecodedBlock;
use super::interleave::Interleaving;
#[cfg(feature = "gpu")]
use super::planes::Planes;

/// A tensor type.
pub struct Format {
    /// The name that llama.cpp prints.
    pub name: &'static str,
    /// The number in ggml's `enum ggml_type`.
    pub ggml_id: u32,
    /// Values in a block.
    pub block_values: usize,
    /// Bytes in a block.
    pub block_bytes: usize,
    /// Where a block has its scales.
    pub scales: Scales,
    /// The least scale of random blocks, for values around a tenth: formats differ in how large their quants are.
    pub scale_unit: f32,
    /// How values come from bytes.
    pub values: Values,
    /// How weights lie in GPU memory, and the shader that reads them.
    #[cfg(feature = "gpu")]
    pub planes: Planes,
}

/// Where a block has its scales.
pub enum Scales {
    /// f16 numbers at these bytes: scales, then minimums.
    Half(&'static [usize]),
    /// An f32 number at the beginning.
    Single,
    /// A bf16 number at the beginning.
    Brain,
    /// An E8M0 exponent in the first byte.
    Exponent,
    /// UE4M3 numbers in so many bytes at the beginning.
    Small(usize),
    /// An f16 number whose nibbles, lowest first, are the upper ones of four 16-bit words at this byte.
    Nibbles(usize),
}

/// How values come from bytes.
pub enum Values {
    /// Each by itself.
    Floats(fn(&[u8]) -> f32),
    /// As small integers with scales.
    Quants(Quants),
}

/// A format of small integers with scales.
pub struct Quants {
    /// Decodes a block. The decoded are fresh or have held blocks of the same format.
    pub decode: fn(&[u8], &mut DecodedBlock),
    /// Which values share a minimum or an offset; `None` without either.
    pub minimums: Option<Minimums>,
    /// How rows alternate in memory for the format's own vector kernel in `matmul::simd128`. A format without
    /// one stays as it is in the file, and its blocks are decoded one after another.
    pub interleaving: Option<Interleaving>,
}

/// Which values share a minimum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Minimums {
    /// Each 16.
    Groups,
    /// Each 32.
    Pairs,
}
