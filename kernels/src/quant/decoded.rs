//! What every block of quantised weights comes down to: small integers, a scale for each group of
//! them, and for some formats a minimum.

use super::{Dtype, Values};

/// Values that share a scale in the finest of the formats.
pub const GROUP: usize = 16;

/// The largest block, in values.
pub const BLOCK_VALUES_MAX: usize = 256;

/// A decoded block. Value `i` of it is
/// `(scale · scales[i / 16]) · quants[i] − minimum · minimums[i / 16]`.
#[derive(Clone, Debug)]
pub struct DecodedBlock {
    /// As many as the format's block has values, from the first on; the rest is not read.
    pub quants: [i8; BLOCK_VALUES_MAX],
    /// One for each group of 16 values, in units of `scale`.
    pub scales: [f32; BLOCK_VALUES_MAX / GROUP],
    /// One for each group of 16 values, in units of `minimum`.
    pub minimums: [f32; BLOCK_VALUES_MAX / GROUP],
    /// The block's own, which the file has in f16 as a rule.
    pub scale: f32,
    /// The block's own; 0 in formats without minimums.
    pub minimum: f32,
}

impl Default for DecodedBlock {
    /// Scales of one and no minimums: what the formats without sub-blocks leave as it is.
    fn default() -> Self {
        DecodedBlock {
            quants: [0; BLOCK_VALUES_MAX],
            scales: [1.0; BLOCK_VALUES_MAX / GROUP],
            minimums: [0.0; BLOCK_VALUES_MAX / GROUP],
            scale: 0.0,
            minimum: 0.0,
        }
    }
}

impl DecodedBlock {
    /// The values of the block.
    pub fn values(&self, out: &mut [f32]) {
        for (group, out) in out.chunks_mut(GROUP).enumerate() {
            let scale = self.scale * self.scales[group];
            let minimum = self.minimum * self.minimums[group];
            for (value, &quant) in out.iter_mut().zip(&self.quants[group * GROUP..]) {
                *value = scale * f32::from(quant) - minimum;
            }
        }
    }
}

/// Decodes one block into as many values as the format's blocks have.
pub fn dequantise_block(dtype: Dtype, block: &[u8], out: &mut [f32]) {
    assert_eq!((block.len(), out.len()), (dtype.block_bytes(), dtype.block_values()), "a block, and room for it");
    match &dtype.format().values {
        Values::Floats(value) => out[0] = value(block),
        Values::Quants(quants) => {
            let mut decoded = DecodedBlock::default();
            (quants.decode)(block, &mut decoded);
            decoded.values(out);
        }
    }
}

/// Decodes the blocks of a row as they lie in a file.
pub fn dequantise_row(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(dtype.block_bytes());
    assert_eq!(blocks.len() * dtype.block_values(), out.len(), "room for the row");
    for (block, out) in blocks.zip(out.chunks_exact_mut(dtype.block_values())) {
        dequantise_block(dtype, block, out);
    }
}
