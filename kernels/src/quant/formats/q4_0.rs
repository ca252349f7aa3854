//! Q4_0: 32 values: an f16 scale, 16 bytes of nibbles; value = scale · (nibble − 8).

use crate::quant::blocks::{half_at, nibbles};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q4_0",
    ggml_id: 2,
    block_values: 32,
    block_bytes: 18,
    scales: Scales::Half(&[0]),
    scale_unit: 0.004,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(2, 2), (16, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[32, 4], split, shader: &[wgsl!("q4_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    nibbles(&block[2..], |i, nibble| decoded.quants[i] = nibble as i8 - 8);
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &joined(&halves(&block[2..18])));
    put(1, &block[..2]);
}
