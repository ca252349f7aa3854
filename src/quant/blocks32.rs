//! The formats with blocks of 32 values and one f16 scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! Four-bit values lie in 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31. A fifth
//! bit of value `i` is bit `i` of a 32-bit word.

use super::parts::{Parts, half_at};

/// f16 scale, 16 bytes of nibbles; value = scale · (nibble − 8).
pub fn q4_0(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    nibbles(&block[2..], |i, nibble| parts.quants[i] = nibble as i8 - 8);
}

/// f16 scale, f16 offset, nibbles; value = scale · nibble + offset.
pub fn q4_1(block: &[u8], parts: &mut Parts) {
    offset(block, parts);
    nibbles(&block[4..], |i, nibble| parts.quants[i] = nibble as i8);
}

/// f16 scale, 32 fifth bits, nibbles; value = scale · (quant − 16).
pub fn q5_0(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    let high = word_at(block, 2);
    nibbles(&block[6..], |i, nibble| parts.quants[i] = fifth(high, i, nibble) - 16);
}

/// f16 scale, f16 offset, 32 fifth bits, nibbles; value = scale · quant + offset.
pub fn q5_1(block: &[u8], parts: &mut Parts) {
    offset(block, parts);
    let high = word_at(block, 4);
    nibbles(&block[8..], |i, nibble| parts.quants[i] = fifth(high, i, nibble));
}

/// f16 scale, 32 signed bytes.
pub fn q8_0(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    for (quant, &byte) in parts.quants.iter_mut().zip(&block[2..]) {
        *quant = byte as i8;
    }
}

/// An offset that is added is a minimum of weight −1.
fn offset(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    parts.minimum = half_at(block, 2);
    parts.minimums[..2].fill(-1.0);
}

/// Calls `put` with the index and the value of each of 32 nibbles.
pub fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (i, &byte) in bytes[..16].iter().enumerate() {
        put(i, byte & 15);
        put(i + 16, byte >> 4);
    }
}

fn fifth(high: u32, i: usize, nibble: u8) -> i8 {
    (nibble | ((high >> i & 1) << 4) as u8) as i8
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}
