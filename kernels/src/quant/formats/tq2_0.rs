//! TQ2_0: 256 values of −1, 0, 1 (or 2): 64 bytes of two-bit quants ([`crumb`]), an f16 scale; value = scale · (quant − 1).

use crate::quant::blocks::{crumb, half_at};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, crumbs, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "TQ2_0",
    ggml_id: 35,
    block_values: 256,
    block_bytes: 66,
    scales: Scales::Half(&[64]),
    scale_unit: 0.05,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[128, 4], split, shader: &[wgsl!("tq2_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 64);
    for i in 0..256 {
        decoded.quants[i] = crumb(block, i) - 1;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &crumbs(&block[..64]));
    put(1, &block[64..]);
}
