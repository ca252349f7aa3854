//! Q1_0: 128 values: an f16 scale, a bit for each value; value = scale if it is set, else −scale.

use crate::quant::blocks::half_at;
use crate::quant::book::{put, signed};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q1_0",
    ggml_id: 41,
    block_values: 128,
    block_bytes: 18,
    scales: Scales::Half(&[0]),
    scale_unit: 0.05,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[32, 4], split, shader: &[wgsl!("q1_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    for (i, &bits) in block[2..].iter().enumerate() {
        put(decoded, i, signed(0x0101_0101_0101_0101, !bits));
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &block[2..]);
    put(1, &block[..2]);
}
