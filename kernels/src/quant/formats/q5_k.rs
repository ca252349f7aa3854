//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `s` of byte `l` belongs to value `l` of sub-block
//! `s`.

use crate::quant::blocks::{scales_and_minimums, sub_block_nibble};
use crate::quant::format::{Format, Minimums, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, scale_bytes, sub_blocks, transposed, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q5_K",
    ggml_id: 13,
    block_values: 256,
    block_bytes: 176,
    scales: Scales::Half(&[0, 2]),
    scale_unit: 0.0001,
    values: Values::Quants(Quants {
        decode,
        minimums: Some(Minimums::Pairs),
        interleaving: Some(interleaving![(4, 2), (12, 1), (32, 4), (128, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[128, 32, 16, 4], split, shader: &[wgsl!("q5_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    scales_and_minimums(block, decoded);
    for i in 0..256 {
        let fifth = block[16 + i % 32] >> (i / 32) & 1;
        decoded.quants[i] = (sub_block_nibble(&block[48..], i) | fifth << 4) as i8;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &sub_blocks(&block[48..176]));
    put(1, &transposed(&block[16..48]));
    put(2, &scale_bytes(&block[4..16]));
    put(3, &block[..4]);
}
