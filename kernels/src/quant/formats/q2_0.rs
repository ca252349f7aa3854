//! Q2_0: 64 values of −1, 0, 1, 2: an f16 scale, 16 bytes of two bits a value, the lowest first; value = scale · (quant − 1).

use crate::quant::blocks::half_at;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, packed_crumbs, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q2_0",
    ggml_id: 42,
    block_values: 64,
    block_bytes: 18,
    scales: Scales::Half(&[0]),
    scale_unit: 0.05,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[32, 4], split, shader: &[wgsl!("q2_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    for i in 0..64 {
        decoded.quants[i] = quant(block, i) as i8 - 1;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &packed_crumbs::<16>(|i| quant(block, i)));
    put(1, &block[..2]);
}

fn quant(block: &[u8], i: usize) -> u8 {
    block[2 + i / 4] >> (2 * (i % 4)) & 3
}
