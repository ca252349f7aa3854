//! MXFP4: 32 values: a power of two as E8M0, 16 bytes of nibbles that index the values of E2M1.

use crate::quant::blocks::nibbles;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "MXFP4",
    ggml_id: 39,
    block_values: 32,
    block_bytes: 17,
    scales: Scales::Exponent,
    scale_unit: 0.0001,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(1, 1), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 4, bytes: &[64, 4], split, shader: &[wgsl!("mxfp4"), wgsl!("codebook")] },
};

/// Twice the values of E2M1, the four-bit float of the OCP microscaling formats.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half of 2^(exponent − 127): the table holds doubled values. The two smallest are subnormal.
fn half_power(exponent: u8) -> f32 {
    match exponent {
        0 | 1 => f32::from_bits(0x0020_0000 << exponent),
        _ => f32::from_bits((u32::from(exponent) - 1) << 23),
    }
}

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_power(block[0]);
    nibbles(&block[1..], |i, nibble| decoded.quants[i] = MXFP4_VALUES[nibble as usize]);
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[1..17])));
    put(1, &block[..1]);
}
