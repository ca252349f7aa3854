//! Q5_1: 32 values: an f16 scale, an f16 offset, 32 fifth bits, 16 bytes of nibbles; value = scale · quant + offset.

use crate::quant::blocks::{nibbles, scale_and_offset, with_fifth, word_at};
use crate::quant::format::{Format, Minimums, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q5_1",
    ggml_id: 7,
    block_values: 32,
    block_bytes: 24,
    scales: Scales::Half(&[0, 2]),
    scale_unit: 0.004,
    values: Values::Quants(Quants {
        decode,
        minimums: Some(Minimums::Pairs),
        interleaving: Some(interleaving![(4, 2), (4, 4), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[16, 4, 4], split, shader: &[wgsl!("q5_1")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    scale_and_offset(block, decoded);
    let high = word_at(block, 4);
    nibbles(&block[8..], |i, nibble| decoded.quants[i] = with_fifth(high, i, nibble));
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[8..24])));
    put(1, &block[4..8]);
    put(2, &block[..4]);
}
