//! Q8_0: 32 values: an f16 scale, 32 signed bytes.

use crate::quant::blocks::half_at;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q8_0",
    ggml_id: 8,
    block_values: 32,
    block_bytes: 34,
    scales: Scales::Half(&[0]),
    scale_unit: 0.0007,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(2, 2), (32, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[64, 4], split, shader: &[wgsl!("q8_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    for (quant, &byte) in decoded.quants.iter_mut().zip(&block[2..]) {
        *quant = byte as i8;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &block[2..34]);
    put(1, &block[..2]);
}
