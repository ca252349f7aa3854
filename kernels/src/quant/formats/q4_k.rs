//! Q4_K: 256 values: an f16 scale, an f16 minimum, 12 bytes of six-bit scales and minimums for each 32, and 128 bytes of
//! nibbles: 32 bytes hold sub-block 2c in their low nibbles and 2c + 1 in their high ones.

use crate::quant::blocks::{scales_and_minimums, sub_block_nibble};
use crate::quant::format::{Format, Minimums, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, scale_bytes, sub_blocks, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q4_K",
    ggml_id: 12,
    block_values: 256,
    block_bytes: 144,
    scales: Scales::Half(&[0, 2]),
    scale_unit: 0.0001,
    values: Values::Quants(Quants {
        decode,
        minimums: Some(Minimums::Pairs),
        interleaving: Some(interleaving![(4, 2), (12, 1), (128, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[128, 16, 4], split, shader: &[wgsl!("q4_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    scales_and_minimums(block, decoded);
    for i in 0..256 {
        decoded.quants[i] = sub_block_nibble(&block[16..], i) as i8;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &sub_blocks(&block[16..144]));
    put(1, &scale_bytes(&block[4..16]));
    put(2, &block[..4]);
}
