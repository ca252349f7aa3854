//! Q3_K: 256 values: 32 bytes of third bits, 64 bytes of two-bit quants ([`crumb`]), 12 bytes of six-bit scales, an
//! f16 scale. Value = scale · (group scale − 32) · (quant − 4). Bit `b` of high byte `l` belongs to value 32 b + l. Scale
//! `g` has its low four bits in nibble g / 8 of byte g % 8, and its upper two in byte 8 + g % 4, at bit 2 (g / 4).

use crate::quant::blocks::{crumb, half_at};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, crumbs, transposed, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q3_K",
    ggml_id: 11,
    block_values: 256,
    block_bytes: 110,
    scales: Scales::Half(&[108]),
    scale_unit: 0.002,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(32, 4), (64, 4), (12, 1), (2, 2)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[128, 64, 32, 4], split, shader: &[wgsl!("q3_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let (high, quants) = (&block[..32], &block[32..96]);
    decoded.scale = half_at(block, 108);
    for (group, scale) in decoded.scales.iter_mut().enumerate() {
        *scale = f32::from(group_scale(&block[96..108], group));
    }
    for i in 0..256 {
        let third = (high[i % 32] >> (i / 32) & 1) as i8;
        decoded.quants[i] = (crumb(quants, i) | third << 2) - 4;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &crumbs(&block[32..96]));
    put(1, &transposed(&block[..32]));
    put(2, &std::array::from_fn::<u8, 16, _>(|group| group_scale(&block[96..108], group) as u8));
    put(3, &block[108..110]);
}

/// The six-bit scale of a group, less 32.
fn group_scale(packed: &[u8], group: usize) -> i8 {
    let low = packed[group % 8] >> (4 * (group / 8)) & 15;
    let upper = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
    (low | upper << 4) as i8 - 32
}
