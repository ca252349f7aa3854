//! Q8_K: 256 values: an f32 scale, 256 signed bytes, and sums of them that are not needed.

use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q8_K",
    ggml_id: 15,
    block_values: 256,
    block_bytes: 292,
    scales: Scales::Single,
    scale_unit: 0.0007,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(4, 4), (256, 4), (32, 2)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[256, 4], split, shader: &[wgsl!("q8_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for (quant, &byte) in decoded.quants.iter_mut().zip(&block[4..260]) {
        *quant = byte as i8;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &block[4..260]);
    put(1, &block[..4]);
}
