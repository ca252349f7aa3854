//! IQ4_XS: 256 values: an f16 scale; for 8 sub-blocks of 32 values a six-bit scale less 32, its upper two bits in one
//! 16-bit word and its lower four as nibbles of four bytes; then for each sub-block 16 bytes of nibbles that index the
//! table of IQ4_NL.

use super::iq4_nl::IQ4_VALUES;
use crate::quant::blocks::{half_at, nibbles};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, halves, joined, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ4_XS",
    ggml_id: 23,
    block_values: 256,
    block_bytes: 136,
    scales: Scales::Half(&[0]),
    scale_unit: 0.0001,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(4, 2), (4, 1), (128, 4)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[256, 16, 4], split, shader: &[wgsl!("iq4_xs"), wgsl!("codebook")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    for (sub, bytes) in block[8..].chunks_exact(16).enumerate() {
        decoded.scales[2 * sub..2 * sub + 2].fill(f32::from(sub_block_scale(block, sub)));
        nibbles(bytes, |i, nibble| decoded.quants[32 * sub + i] = IQ4_VALUES[nibble as usize]);
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let mut nibbles = [0; 128];
    for (to, from) in nibbles.chunks_exact_mut(16).zip(block[8..136].chunks_exact(16)) {
        to.copy_from_slice(&joined(&halves(from)));
    }
    put(0, &nibbles);
    put(1, &std::array::from_fn::<u8, 8, _>(|sub| sub_block_scale(block, sub) as u8));
    put(2, &block[..2]);
}

/// The scale of a sub-block, less 32.
fn sub_block_scale(block: &[u8], sub: usize) -> i8 {
    let high = u16::from_le_bytes([block[2], block[3]]);
    let low = block[4 + sub / 2] >> (4 * (sub % 2)) & 15;
    (low | ((high >> (2 * sub)) as u8 & 3) << 4) as i8 - 32
}
