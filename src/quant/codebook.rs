//! The formats whose nibbles index a table of 16 values: IQ4_NL, IQ4_XS, MXFP4.

use super::blocks32::nibbles;
use super::parts::{Parts, half_at};

/// The table of IQ4_NL and IQ4_XS, denser near zero.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of E2M1, the four-bit float of the OCP microscaling formats.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// f16 scale, 16 bytes of nibbles.
pub fn iq4_nl(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    nibbles(&block[2..], |i, nibble| parts.quants[i] = IQ4_VALUES[nibble as usize]);
}

/// f16 scale; for 8 sub-blocks of 32 values a six-bit scale less 32, its upper two bits in one 16-bit
/// word and its lower four as nibbles of four bytes; then 16 bytes of nibbles for each sub-block.
pub fn iq4_xs(block: &[u8], parts: &mut Parts) {
    parts.scale = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (sub, bytes) in block[8..].chunks_exact(16).enumerate() {
        let low = block[4 + sub / 2] >> (4 * (sub % 2)) & 15;
        let scale = i16::from(low) | ((high >> (2 * sub) & 3) as i16) << 4;
        parts.scales[2 * sub..2 * sub + 2].fill(f32::from(scale - 32));
        nibbles(bytes, |i, nibble| parts.quants[32 * sub + i] = IQ4_VALUES[nibble as usize]);
    }
}

/// A power of two as E8M0, 16 bytes of nibbles.
pub fn mxfp4(block: &[u8], parts: &mut Parts) {
    parts.scale = half_power(block[0]);
    nibbles(&block[1..], |i, nibble| parts.quants[i] = MXFP4_VALUES[nibble as usize]);
}

/// Half of 2^(exponent − 127): the table holds doubled values. The two smallest are subnormal.
pub fn half_power(exponent: u8) -> f32 {
    match exponent {
        0 | 1 => f32::from_bits(0x0020_0000 << exponent),
        _ => f32::from_bits((u32::from(exponent) - 1) << 23),
    }
}
