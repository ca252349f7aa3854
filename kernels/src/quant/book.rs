//! The code books of the IQ formats. A book has points of four or eight numbers each, and all numbers are among a few
//! levels; a block says for each run of values which point it is. Books have their points in ascending order, the last
//! number first, so that one bit for each point that could be in it tells a whole book.

use super::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use super::planes::{Planes, Split, packed_bits, packed_crumbs, wgsl};

/// The bytes that hexadecimal digits stand for.
pub const fn bytes_of<const N: usize>(hex: &str) -> [u8; N] {
    const fn digit(byte: u8) -> u8 {
        if byte > b'9' { byte - b'a' + 10 } else { byte - b'0' }
    }
    let digits = hex.as_bytes();
    assert!(digits.len() == 2 * N, "two digits a byte");
    let (mut bytes, mut at) = ([0; N], 0);
    while at < N {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// The points of a book, a byte for each of their `numbers` numbers, from its bits.
pub fn points(bits: &[u8], levels: &[u8], numbers: usize) -> Vec<u64> {
    let all = 0..levels.len().pow(numbers as u32);
    let point = |mut point: usize| {
        let mut bytes = [0; 8];
        for byte in &mut bytes[..numbers] {
            *byte = levels[point % levels.len()];
            point /= levels.len();
        }
        u64::from_le_bytes(bytes)
    };
    all.filter(|point| bits[point / 8] >> (point % 8) & 1 == 1).map(point).collect()
}

/// Which of eight numbers are below zero, from seven bits: of all eight an even number is.
pub fn even(seven: u32) -> u8 {
    let seven = seven as u8 & 127;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// One in each byte whose bit is set.
fn spread(bits: u8) -> u64 {
    let bits = (u64::from(bits) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    (bits + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101
}

/// Eight numbers above zero, those below it made so: bit i of `below` is that of byte i.
pub fn signed(numbers: u64, below: u8) -> u64 {
    let below = spread(below);
    // Bytes that are not zero have no carry when they are negated.
    (numbers ^ below.wrapping_mul(255)).wrapping_add(below)
}

/// Sets values 8 `at` and after to eight signed bytes.
pub fn put(decoded: &mut DecodedBlock, at: usize, numbers: u64) {
    decoded.quants[8 * at..8 * at + 8].copy_from_slice(&numbers.to_le_bytes().map(|byte| byte as i8));
}

/// The scale that `n` stands for in all of the formats.
pub fn odd(n: u32) -> f32 {
    (2 * n + 1) as f32
}

/// Levels of IQ2.
pub const IQ2_LEVELS: [u8; 3] = [8, 25, 43];

/// The scales of IQ2_XS and IQ2_S: a nibble for each 16 values.
pub fn nibble_scales(bytes: &[u8], decoded: &mut DecodedBlock) {
    for (group, scale) in decoded.scales.iter_mut().enumerate() {
        *scale = odd(u32::from(bytes[group / 2] >> (4 * (group % 2)) & 15));
    }
}

/// On a GPU a chunk's two scales are nibbles of a byte.
#[cfg(feature = "gpu")]
fn scale_bytes(decoded: &DecodedBlock) -> [u8; 8] {
    let nibble = |group: usize| decoded.scales[group] as u8 / 2;
    std::array::from_fn(|chunk| nibble(2 * chunk) | nibble(2 * chunk + 1) << 4)
}

/// How all of IQ2 lies in GPU memory.
#[cfg(feature = "gpu")]
pub const fn planes_iq2(split: Split) -> Planes {
    Planes { blocks: 2, bytes: &[128, 64, 16, 4], split, shader: &[wgsl!("iq2"), wgsl!("book")] }
}

/// How all of IQ3 lies there; the shaders differ in how far levels are apart.
#[cfg(feature = "gpu")]
pub const fn planes_iq3(split: Split, shader: &'static [&'static str]) -> Planes {
    Planes { blocks: 2, bytes: &[128, 128, 16, 4], split, shader }
}

/// Takes a block of IQ2 apart. On a GPU points are written out, since every look at a table is a load there.
#[cfg(feature = "gpu")]
pub fn split_iq2(decode: fn(&[u8], &mut DecodedBlock), block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let mut decoded = DecodedBlock::default();
    decode(block, &mut decoded);
    let quants = &decoded.quants;
    // 8, 25, 43 by 3 in units of 64.
    put(0, &packed_crumbs::<64>(|i| ((3 * u32::from(quants[i].unsigned_abs())) >> 6) as u8));
    put(1, &packed_bits::<32>(|i| quants[i] < 0));
    put(2, &scale_bytes(&decoded));
    put(3, &block[..2]);
}

/// Takes a block of IQ3 apart, whose levels are `1 << shift` apart.
#[cfg(feature = "gpu")]
pub fn split_iq3(decode: fn(&[u8], &mut DecodedBlock), shift: u32, block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let mut decoded = DecodedBlock::default();
    decode(block, &mut decoded);
    let quants = &decoded.quants;
    let number = |i: usize| quants[i].unsigned_abs() >> shift;
    put(0, &packed_crumbs::<64>(|i| number(i) & 3));
    // Of each chunk the third bits, then the signs.
    let value = |i: usize| 32 * (i / 64) + i % 32;
    let bit = |i: usize| if i % 64 < 32 { number(value(i)) & 4 != 0 } else { quants[value(i)] < 0 };
    put(1, &packed_bits::<64>(bit));
    put(2, &scale_bytes(&decoded));
    put(3, &block[..2]);
}

/// Levels of IQ1 as bytes: −1, 0 and 1, eight times and more by one, with 9 and the eighth bit on top; see [`shifted`].
pub const IQ1_LEVELS: [u8; 3] = [0x82, 0x8a, 0x92];

/// Eight numbers of IQ1 in eighths: each is an eighth more than −1, 0 or 1, or less if `below`.
pub fn shifted(numbers: u64, below: bool) -> u64 {
    // The eighth bit keeps bytes from borrowing, and then makes them signed.
    let less = if below { 0x0b0b_0b0b_0b0b_0b0b } else { 0x0909_0909_0909_0909 };
    (numbers - less) ^ 0x8080_8080_8080_8080
}

/// Takes a block of IQ1 apart.
#[cfg(feature = "gpu")]
pub fn split_iq1(decode: fn(&[u8], &mut DecodedBlock), half: [u8; 2], block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let mut decoded = DecodedBlock::default();
    decode(block, &mut decoded);
    let number = |i: usize| (decoded.quants[i] + 9) as u8 >> 3;
    let scales = scale_bytes(&decoded);
    put(0, &packed_crumbs::<64>(number));
    // Of each chunk the scales, then which of its four points are shifted below.
    let below = |point: usize| u8::from(decoded.quants[8 * point] < 8 * number(8 * point) as i8 - 8);
    let four = |chunk: usize| (0..4).fold(0, |bits, i| bits | below(4 * chunk + i) << i);
    put(1, &std::array::from_fn::<u8, 16, _>(|i| if i % 2 == 0 { scales[i / 2] } else { four(i / 2) }));
    put(2, &half);
}
