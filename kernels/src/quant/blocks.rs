//! What several formats have in their blocks.

use super::decoded::DecodedBlock;
use half::f16;

/// The f16 number at a byte offset.
pub fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The 32-bit word at a byte offset.
pub fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// An f16 scale and an f16 offset. An offset that is added is a minimum of weight −1.
pub fn scale_and_offset(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    decoded.minimum = half_at(block, 2);
    decoded.minimums[..2].fill(-1.0);
}

/// Calls `put` with the index and the value of each of 32 nibbles in 16 bytes: low nibbles are values 0 to 15, high
/// nibbles 16 to 31.
pub fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (i, &byte) in bytes[..16].iter().enumerate() {
        put(i, byte & 15);
        put(i + 16, byte >> 4);
    }
}

/// A nibble and its fifth bit, which is bit `i` of a word.
pub fn with_fifth(high: u32, i: usize, nibble: u8) -> i8 {
    (nibble | ((high >> i & 1) << 4) as u8) as i8
}

/// Two-bit value `i` of 64 bytes: byte `l` of 32 holds values l, 32 + l, 64 + l, 96 + l of a half block, lowest bits
/// first.
pub fn crumb(quants: &[u8], i: usize) -> i8 {
    (quants[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3) as i8
}

/// Nibble `i` of the 128 bytes of Q4_K and Q5_K: 32 bytes hold one sub-block in their low nibbles and the next in their
/// high ones.
pub fn sub_block_nibble(nibbles: &[u8], i: usize) -> u8 {
    nibbles[32 * (i / 64) + i % 32] >> (4 * (i % 64 / 32)) & 15
}

/// The head of Q4_K and Q5_K.
pub fn scales_and_minimums(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 0);
    decoded.minimum = half_at(block, 2);
    for (sub, [scale, minimum]) in six_bit_pairs(&block[4..16]).into_iter().enumerate() {
        decoded.scales[2 * sub..2 * sub + 2].fill(f32::from(scale));
        decoded.minimums[2 * sub..2 * sub + 2].fill(f32::from(minimum));
    }
}

/// Scale and minimum of the eight sub-blocks of Q4_K and Q5_K. Sub-blocks 0 to 3 have their scales in the low six bits of
/// bytes 0 to 3 and their minimums in those of bytes 4 to 7. Sub-blocks 4 to 7 have low four bits in the nibbles of bytes
/// 8 to 11 and upper two bits on top of the former.
pub fn six_bit_pairs(packed: &[u8]) -> [[u8; 2]; 8] {
    let mut pairs = [[0; 2]; 8];
    for sub in 0..4 {
        let (scale, minimum, low) = (packed[sub], packed[sub + 4], packed[sub + 8]);
        pairs[sub] = [scale & 63, minimum & 63];
        pairs[sub + 4] = [low & 15 | scale >> 6 << 4, low >> 4 | minimum >> 6 << 4];
    }
    pairs
}
