//! Q6_K: 256 values: 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed scales, an f16 scale; value =
//! scale · group scale · (quant − 32). In a half block, value i has its nibble in byte i % 64 and its upper bits in byte
//! i % 32, at bit 2 (i / 32).

use crate::quant::blocks::half_at;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::interleave::interleaving;
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, crumbs, joined, quad, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "Q6_K",
    ggml_id: 14,
    block_values: 256,
    block_bytes: 210,
    scales: Scales::Half(&[208]),
    scale_unit: 0.0001,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: Some(interleaving![(192, 6), (16, 1), (2, 2)]),
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[256, 128, 32, 4], split, shader: &[wgsl!("q6_k")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    decoded.scale = half_at(block, 208);
    for (group, &byte) in scales.iter().enumerate() {
        decoded.scales[group] = f32::from(byte as i8);
    }
    for i in 0..256 {
        let (half, i_half) = (i / 128, i % 128);
        let nibble = low[64 * half + i_half % 64] >> (4 * (i_half / 64)) & 15;
        let upper = high[32 * half + i_half % 32] >> (2 * (i_half / 32)) & 3;
        decoded.quants[i] = (nibble | upper << 4) as i8 - 32;
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    put(0, &chunk_nibbles(&block[..128]));
    put(1, &crumbs(&block[128..192]));
    put(2, &block[192..208]);
    put(3, &block[208..210]);
}

/// The nibbles of each chunk: in a half block, value i has its nibble in byte i % 64, the upper ones for the second 64.
#[cfg(feature = "gpu")]
fn chunk_nibbles(bytes: &[u8]) -> [u8; 128] {
    let mut out = [0; 128];
    for (chunk, to) in out.chunks_exact_mut(16).enumerate() {
        let from = &bytes[64 * (chunk / 4) + 32 * (chunk % 2)..];
        let shift = 4 * (chunk as u32 % 4 / 2);
        to.copy_from_slice(&joined(&std::array::from_fn(|j| quad(&from[4 * j..], shift, 15))));
    }
    out
}
