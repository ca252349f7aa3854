//! The formats with blocks of 256 values, one or two f16 scales, and integer scales for sub-blocks of
//! 16 or 32 values: Q2_K to Q6_K; and Q8_K, with one f32 scale.

use super::parts::{Parts, half_at};

/// 16 bytes of scale (low nibble) and minimum (high), 64 bytes of two-bit quants, scale, minimum.
/// Byte `l` of 32 holds values l, 32 + l, 64 + l, 96 + l of a half block, lowest bits first.
pub fn q2_k(block: &[u8], parts: &mut Parts) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    parts.scale = half_at(block, 80);
    parts.minimum = half_at(block, 82);
    for (group, &byte) in scales.iter().enumerate() {
        parts.scales[group] = f32::from(byte & 15);
        parts.minimums[group] = f32::from(byte >> 4);
    }
    for i in 0..256 {
        parts.quants[i] = crumb(quants, i);
    }
}

/// 32 bytes of third bits, 64 bytes of two-bit quants as in [`q2_k`], 12 bytes of six-bit scales, f16
/// scale. Value = scale · (group scale − 32) · (quant − 4). Bit `b` of high byte `l` belongs to value
/// 32 b + l. Scale `g` has its low four bits in nibble g / 8 of byte g % 8, and its upper two in
/// byte 8 + g % 4, at bit 2 (g / 4).
pub fn q3_k(block: &[u8], parts: &mut Parts) {
    let (high, quants, scales) = (&block[..32], &block[32..96], &block[96..108]);
    parts.scale = half_at(block, 108);
    for group in 0..16 {
        let low = scales[group % 8] >> (4 * (group / 8)) & 15;
        let upper = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        parts.scales[group] = f32::from((low | upper << 4) as i8 - 32);
    }
    for i in 0..256 {
        let third = (high[i % 32] >> (i / 32) & 1) as i8;
        parts.quants[i] = (crumb(quants, i) | third << 2) - 4;
    }
}

/// Scale, minimum, 12 bytes of six-bit scales and minimums, 128 bytes of nibbles: 32 bytes hold
/// sub-block 2c in their low nibbles and 2c + 1 in their high ones.
pub fn q4_k(block: &[u8], parts: &mut Parts) {
    scales_and_minimums(block, parts);
    for i in 0..256 {
        parts.quants[i] = sub_block_nibble(&block[16..], i) as i8;
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the nibbles: bit `s` of byte `l` belongs to value
/// `l` of sub-block `s`.
pub fn q5_k(block: &[u8], parts: &mut Parts) {
    scales_and_minimums(block, parts);
    for i in 0..256 {
        let fifth = block[16 + i % 32] >> (i / 32) & 1;
        parts.quants[i] = (sub_block_nibble(&block[48..], i) | fifth << 4) as i8;
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed scales, f16 scale; value =
/// scale · group scale · (quant − 32). In a half block, value i has its nibble in byte i % 64 and its
/// upper bits in byte i % 32, at bit 2 (i / 32).
pub fn q6_k(block: &[u8], parts: &mut Parts) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    parts.scale = half_at(block, 208);
    for (group, &byte) in scales.iter().enumerate() {
        parts.scales[group] = f32::from(byte as i8);
    }
    for i in 0..256 {
        let (half, i_half) = (i / 128, i % 128);
        let nibble = low[64 * half + i_half % 64] >> (4 * (i_half / 64)) & 15;
        let upper = high[32 * half + i_half % 32] >> (2 * (i_half / 32)) & 3;
        parts.quants[i] = (nibble | upper << 4) as i8 - 32;
    }
}

/// f32 scale, 256 signed bytes, and sums of them that are not needed.
pub fn q8_k(block: &[u8], parts: &mut Parts) {
    parts.scale = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for (quant, &byte) in parts.quants.iter_mut().zip(&block[4..260]) {
        *quant = byte as i8;
    }
}

/// Two-bit value `i` of 64 bytes.
fn crumb(quants: &[u8], i: usize) -> i8 {
    (quants[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3) as i8
}

fn sub_block_nibble(nibbles: &[u8], i: usize) -> u8 {
    nibbles[32 * (i / 64) + i % 32] >> (4 * (i % 64 / 32)) & 15
}

/// The head of Q4_K and Q5_K. Sub-blocks 0 to 3 have their scales in the low six bits of bytes 0 to 3
/// and their minimums in those of bytes 4 to 7. Sub-blocks 4 to 7 have low four bits in the nibbles of
/// bytes 8 to 11 and upper two bits on top of the former.
fn scales_and_minimums(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    parts.minimum = half_at(block, 2);
    let packed = &block[4..16];
    for sub in 0..4 {
        let (scale, minimum, low) = (packed[sub], packed[sub + 4], packed[sub + 8]);
        set(parts, sub, scale & 63, minimum & 63);
        set(parts, sub + 4, low & 15 | scale >> 6 << 4, low >> 4 | minimum >> 6 << 4);
    }
}

fn set(parts: &mut Parts, sub: usize, scale: u8, minimum: u8) {
    parts.scales[2 * sub..2 * sub + 2].fill(f32::from(scale));
    parts.minimums[2 * sub..2 * sub + 2].fill(f32::from(minimum));
}
