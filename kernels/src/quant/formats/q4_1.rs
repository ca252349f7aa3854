//! Q4_1: 32 values: an f16 scale, an f16 offset, 16 bytes of nibbles; value = scale · nibble + offset.

use crate::quant::blocks::{nibbles, scale_and_offset};
use crate::quant::format::{Format, Minimums, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q4_1",
    ggml_id: 3,
    block_values: 32,
    block_bytes: 20,
    scales: Scales::Half(&[0, 2]),
    scale_unit: 0.004,
    values: Values::Quants(Quants {
        decode,
        minimums: Some(Minimums::Pairs),
        interleaving: Some(interleaving![(4, 2), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[16, 4], split, shader: &[wgsl!("q4_1")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    scale_and_offset(block, decoded);
    nibbles(&block[4..], |i, nibble| decoded.quants[i] = nibble as i8);
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[4..20])));
    put(1, &block[..4]);
}
