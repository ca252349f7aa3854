//! Q5_0: 32 values: an f16 scale, 32 fifth bits, 16 bytes of nibbles; value = scale · (quant − 16).

use crate::quant::blocks::{half_at, nibbles, with_fifth, word_at};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q5_0",
    ggml_id: 6,
    block_values: 32,
    block_bytes: 22,
    scales: Scales::Half(&[0]),
    scale_unit: 0.004,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(2, 2), (4, 4), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[32, 8, 4], split, shader: &[wgsl!("q5_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    let high = word_at(block, 2);
    nibbles(&block[6..], |i, nibble| decoded.quants[i] = with_fifth(high, i, nibble) - 16);
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[6..22])));
    put(1, &block[2..6]);
    put(2, &block[..2]);
}
