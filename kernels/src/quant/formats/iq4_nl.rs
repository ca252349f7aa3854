//! IQ4_NL: 32 values: an f16 scale, 16 bytes of nibbles that index a table.

use crate::quant::blocks::{half_at, nibbles};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ4_NL",
    ggml_id: 20,
    block_values: 32,
    block_bytes: 18,
    scales: Scales::Half(&[0]),
    scale_unit: 0.0007,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(2, 2), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[32, 4], split, shader: &[wgsl!("iq4_nl"), wgsl!("codebook")] },
};

/// The table of IQ4_NL and IQ4_XS, denser near zero.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    nibbles(&block[2..], |i, nibble| decoded.quants[i] = IQ4_VALUES[nibble as usize]);
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[2..18])));
    put(1, &block[..2]);
}
