//! Q2_K: 256 values: for each 16 a byte of scale (low nibble) and minimum (high), 64 bytes of two-bit quants
//! ([`crumb`]), an f16 scale and an f16 minimum.

use crate::quant::blocks::{crumb, half_at};
use crate::quant::format::{Format, Minimums, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, crumbs, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q2_K",
    ggml_id: 10,
    block_values: 256,
    block_bytes: 84,
    scales: Scales::Half(&[80, 82]),
    scale_unit: 0.002,
    values: Values::Quants(Quants {
        decode,
        minimums: Some(Minimums::Groups),
        interleaving: Some(interleaving![(16, 1), (64, 4), (4, 2)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[64, 16, 4], split, shader: &[wgsl!("q2_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    decoded.scale = half_at(block, 80);
    decoded.minimum = half_at(block, 82);
    for (group, &byte) in scales.iter().enumerate() {
        decoded.scales[group] = f32::from(byte & 15);
        decoded.minimums[group] = f32::from(byte >> 4);
    }
    for i in 0..256 {
        decoded.quants[i] = crumb(quants, i);
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &crumbs(&block[16..80]));
    put(1, &block[..16]);
    put(2, &block[80..84]);
}
