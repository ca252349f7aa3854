//! Products of small integers: 4 rows × 4 weights with 4 activations that every row shares. Each lane
//! of a sum belongs to a row, so that nothing is added across rows. All instances are exact.
//!
//! Sums of a group are kept in 16 bits where an instance can: two lanes a row, of 8 products each. They
//! start at minus the zero point times the activations' sum, may wrap around on the way, and end as the
//! sum of 8 products (weight − zero point) · activation, which fits: |32 · 127 · 8| < 2^15.

use super::super::activations::Pair;
use super::tile::splat;
use crate::cpu::arch::*;
use std::mem::offset_of;

/// Sixteen weights, ready to multiply.
#[derive(Clone, Copy)]
pub struct Weights {
    /// Seven bits at most. Of a signed byte with relaxed SIMD: its low nibble. Without: the byte.
    low: v128,
    /// Of a signed byte with relaxed SIMD: its high nibble plus 8, which is not negative.
    high: v128,
}

/// What is to be multiplied by 16 · 8 for the nibbles of signed bytes to be right.
const HIGH_ZERO: i16 = 8;

impl Weights {
    /// Integers from 0 to 63, which lie within 32 of the format's zero point.
    #[inline(always)]
    pub fn small(weights: v128) -> Self {
        Weights { low: weights, high: weights }
    }

    /// Signed bytes.
    #[inline(always)]
    pub fn signed(weights: v128) -> Self {
        if !cfg!(target_feature = "relaxed-simd") {
            return Self::small(weights);
        }
        let flipped = v128_xor(weights, u8x16_splat(0x80));
        let nibble = u8x16_splat(15);
        Weights { low: v128_and(weights, nibble), high: v128_and(u16x8_shr(flipped, 4), nibble) }
    }

    /// Signed bytes: the table's value at each nibble.
    #[inline(always)]
    pub fn look_up(table: [i8; 16], nibbles: v128) -> Self {
        if !cfg!(target_feature = "relaxed-simd") {
            return Self::small(swizzle(table, nibbles));
        }
        let low = swizzle(table.map(|value| value & 15), nibbles);
        Weights { low, high: swizzle(table.map(|value| (value >> 4) + HIGH_ZERO as i8), nibbles) }
    }
}

/// The table's value at each nibble.
#[inline(always)]
pub fn swizzle(table: [i8; 16], nibbles: v128) -> v128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = table;
    let table = i8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
    #[cfg(target_feature = "relaxed-simd")]
    return i8x16_relaxed_swizzle(table, nibbles);
    #[cfg(not(target_feature = "relaxed-simd"))]
    i8x16_swizzle(table, nibbles)
}

/// A way to multiply and add.
pub trait Sums: Copy {
    /// `negative` holds the negative sums of the group's activations for 8 products each. With
    /// `signed`, the weights are signed bytes, and `zero` is 0.
    fn new(negative: v128, zero: i16, signed: bool) -> Self;

    /// Adds the products with the four activations that begin at value `at` of `pair`.
    ///
    /// # Safety
    /// `pair` points to a pair, and `at` is a multiple of 4 below 32.
    unsafe fn add(&mut self, weights: Weights, pair: *const Pair, at: usize, signed: bool);

    /// The sums of 4 rows in 32 bits, multiplied by the rows' scales: 16-bit integers, twice for each.
    fn total(self, signed: bool, scales: Option<v128>) -> v128;
}

/// Sums in two places: `low` of all weights that are not signed, and of low nibbles.
#[derive(Clone, Copy)]
pub struct Lanes16 {
    low: v128,
    high: v128,
}

/// As [`Lanes16`], in 32 bits.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct Lanes32 {
    low: v128,
    high: v128,
}

/// The two sums of each row, scaled and added.
#[inline(always)]
fn add_pairs(sums: v128, scales: Option<v128>) -> v128 {
    match scales {
        Some(scales) => i32x4_dot_i16x8(sums, scales),
        None => i32x4_extadd_pairwise_i16x8(sums),
    }
}

/// The sum of each row, scaled.
#[inline(always)]
fn multiply(sums: v128, scales: Option<v128>) -> v128 {
    scales.map_or(sums, |scales| i32x4_mul(sums, i32x4_shr(scales, 16)))
}

/// Minus the zero point times the sums of activations.
#[inline(always)]
fn start(negative: v128, zero: i16) -> v128 {
    if zero == 0 { i16x8_splat(0) } else { i16x8_mul(negative, i16x8_splat(zero)) }
}

/// Four activations, once for each row. Weights go into the operand of seven bits: for them the result
/// is defined, and no implementation saturates, since |2 · 63 · 127| < 2^15.
///
/// # Safety
/// `pair` points to a pair, and `at` is a multiple of 4 below 32.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn activations(pair: *const Pair, at: usize) -> v128 {
    // SAFETY: the four bytes lie within the pair's integers, by the caller's promise.
    unsafe { splat(pair, offset_of!(Pair, integers) + at) }
}

/// For processors whose bytes multiply in pairs: x86 before AVX-VNNI.
#[cfg(target_feature = "relaxed-simd")]
impl Sums for Lanes16 {
    #[inline(always)]
    fn new(negative: v128, zero: i16, signed: bool) -> Self {
        let high = if signed { start(negative, HIGH_ZERO) } else { negative };
        Lanes16 { low: start(negative, zero), high }
    }

    #[inline(always)]
    unsafe fn add(&mut self, weights: Weights, pair: *const Pair, at: usize, signed: bool) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activations(pair, at) };
        self.low = i16x8_add(self.low, i16x8_relaxed_dot_i8x16_i7x16(activations, weights.low));
        if signed {
            self.high = i16x8_add(self.high, i16x8_relaxed_dot_i8x16_i7x16(activations, weights.high));
        }
    }

    #[inline(always)]
    fn total(self, signed: bool, scales: Option<v128>) -> v128 {
        let low = add_pairs(self.low, scales);
        if signed { i32x4_add(low, i32x4_shl(add_pairs(self.high, scales), 4)) } else { low }
    }
}

/// For processors whose bytes multiply in fours: ARM, and x86 with AVX-VNNI.
#[cfg(target_feature = "relaxed-simd")]
impl Sums for Lanes32 {
    #[inline(always)]
    fn new(negative: v128, zero: i16, signed: bool) -> Self {
        let start = |zero| i32x4_extadd_pairwise_i16x8(start(negative, zero));
        Lanes32 { low: start(zero), high: if signed { start(HIGH_ZERO) } else { negative } }
    }

    #[inline(always)]
    unsafe fn add(&mut self, weights: Weights, pair: *const Pair, at: usize, signed: bool) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activations(pair, at) };
        self.low = i32x4_relaxed_dot_i8x16_i7x16_add(activations, weights.low, self.low);
        if signed {
            self.high = i32x4_relaxed_dot_i8x16_i7x16_add(activations, weights.high, self.high);
        }
    }

    #[inline(always)]
    fn total(self, signed: bool, scales: Option<v128>) -> v128 {
        let total = if signed { i32x4_add(self.low, i32x4_shl(self.high, 4)) } else { self.low };
        multiply(total, scales)
    }
}

/// Without relaxed SIMD: even and odd bytes are widened, and multiply with even and odd activations.
/// Products of signed bytes are added in 32 bits at once.
#[cfg(not(target_feature = "relaxed-simd"))]
impl Sums for Lanes16 {
    #[inline(always)]
    fn new(negative: v128, zero: i16, _: bool) -> Self {
        let low = start(negative, zero);
        Lanes16 { low, high: low }
    }

    #[inline(always)]
    unsafe fn add(&mut self, weights: Weights, pair: *const Pair, at: usize, signed: bool) {
        // SAFETY: the four words lie within the pair's integers, by the caller's promise.
        let (even, odd) = unsafe {
            let words = offset_of!(Pair, integers) + 2 * at;
            (splat(pair, words), splat(pair, words + 4))
        };
        let weights = weights.low;
        if signed {
            let weights_even = i16x8_shr(i16x8_shl(weights, 8), 8);
            self.low = i32x4_add(self.low, i32x4_dot_i16x8(weights_even, even));
            self.low = i32x4_add(self.low, i32x4_dot_i16x8(i16x8_shr(weights, 8), odd));
        } else {
            self.low = i16x8_add(self.low, i16x8_mul(v128_and(weights, u16x8_splat(0xff)), even));
            self.low = i16x8_add(self.low, i16x8_mul(u16x8_shr(weights, 8), odd));
        }
    }

    #[inline(always)]
    fn total(self, signed: bool, scales: Option<v128>) -> v128 {
        if signed { multiply(self.low, scales) } else { add_pairs(self.low, scales) }
    }
}
