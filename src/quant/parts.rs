//! What every block of quantised weights comes down to: small integers, a scale for each group of
//! them, and for some formats a minimum.

use super::{Dtype, blocks32, codebook, k_quants};
use half::{bf16, f16};

/// Values that share a scale in the finest of the formats.
pub const GROUP: usize = 16;

/// The largest block, in values.
pub const BLOCK_VALUES_MAX: usize = 256;

/// A decoded block. Value `i` of it is
/// `(scale · scales[i / 16]) · quants[i] − minimum · minimums[i / 16]`.
#[derive(Clone, Debug)]
pub struct Parts {
    pub quants: [i8; BLOCK_VALUES_MAX],
    pub scales: [f32; BLOCK_VALUES_MAX / GROUP],
    pub minimums: [f32; BLOCK_VALUES_MAX / GROUP],
    pub scale: f32,
    pub minimum: f32,
}

impl Default for Parts {
    /// Scales of one and no minimums: what the formats without sub-blocks leave as it is.
    fn default() -> Self {
        Parts {
            quants: [0; BLOCK_VALUES_MAX],
            scales: [1.0; BLOCK_VALUES_MAX / GROUP],
            minimums: [0.0; BLOCK_VALUES_MAX / GROUP],
            scale: 0.0,
            minimum: 0.0,
        }
    }
}

impl Parts {
    /// Decodes a block of `dtype`, which must be a quantised type. `self` must be fresh or have held
    /// blocks of the same type only.
    pub fn decode(&mut self, dtype: Dtype, block: &[u8]) {
        assert_eq!(block.len(), dtype.block_bytes(), "a whole block");
        match dtype {
            Dtype::Q4_0 => blocks32::q4_0(block, self),
            Dtype::Q4_1 => blocks32::q4_1(block, self),
            Dtype::Q5_0 => blocks32::q5_0(block, self),
            Dtype::Q5_1 => blocks32::q5_1(block, self),
            Dtype::Q8_0 => blocks32::q8_0(block, self),
            Dtype::Q2_K => k_quants::q2_k(block, self),
            Dtype::Q3_K => k_quants::q3_k(block, self),
            Dtype::Q4_K => k_quants::q4_k(block, self),
            Dtype::Q5_K => k_quants::q5_k(block, self),
            Dtype::Q6_K => k_quants::q6_k(block, self),
            Dtype::Q8_K => k_quants::q8_k(block, self),
            Dtype::IQ4_NL => codebook::iq4_nl(block, self),
            Dtype::IQ4_XS => codebook::iq4_xs(block, self),
            Dtype::MXFP4 => codebook::mxfp4(block, self),
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => unreachable!("{} has no parts", dtype.name()),
        }
    }

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
    assert_eq!(out.len(), dtype.block_values(), "room for a block");
    match dtype {
        Dtype::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
        Dtype::F16 => out[0] = half_at(block, 0),
        Dtype::BF16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
        _ => {
            let mut parts = Parts::default();
            parts.decode(dtype, block);
            parts.values(out);
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

/// The f16 number at a byte offset.
pub fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
