//! IQ1_M: 256 values: for each 8 values the low byte of the number of a point of IQ1_S; for each 8 values a nibble: three upper
//! bits of the number, and whether the values are an eighth below their point rather than above it; four 16-bit words: of
//! each the upper nibble is one of an f16 scale, lowest first, and below are three bits of a scale for each 16 values.

use super::iq1_s::POINTS;
use crate::quant::book::{odd, put, shifted};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::{book::split_iq1, planes::{Planes, wgsl}};
use half::f16;

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ1_M",
    ggml_id: 29,
    block_values: 256,
    block_bytes: 56,
    scales: Scales::Nibbles(48),
    scale_unit: 0.01,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[128, 32, 4], split, shader: &[wgsl!("iq1"), wgsl!("book")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let points = POINTS.as_slice();
    decoded.scale = f16::from_bits(scale(block)).to_f32() / 8.0;
    for (group, scale) in decoded.scales.iter_mut().enumerate() {
        *scale = odd(u32::from(word(block, group / 4) >> (3 * (group % 4)) & 7));
    }
    for i in 0..32 {
        let high = block[32 + i / 2] >> (4 * (i % 2));
        let number = usize::from(block[i]) | usize::from(high & 7) << 8;
        put(decoded, i, shifted(points[number], high & 8 != 0));
    }
}

/// One of the four words of scales.
fn word(block: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([block[48 + 2 * index], block[49 + 2 * index]])
}

/// The f16 scale of the block.
fn scale(block: &[u8]) -> u16 {
    (0..4).fold(0, |bits, index| bits | word(block, index) >> 12 << (4 * index))
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    split_iq1(decode, scale(block).to_le_bytes(), block, put);
}
