//! Products of small integers: 4 rows × 4 weights with 4 activations that every row shares. Each lane
//! of a sum belongs to a row, so that nothing is added across rows. All instances are exact.
//!
//! Sums of a group are kept in 16 bits where an instance can: two lanes a row, of 8 products each. They
//! start at minus the zero point times the activations' sum, may wrap around on the way, and end as the
//! sum of 8 products (weight − zero point) · activation, which fits: |32 · 127 · 8| < 2^15.

use super::super::activations::Pair;
use super::tile::splat;
use super::unpack::Constants;
use crate::arch::*;
use std::mem::offset_of;

/// Sixteen weights in the forms that instances multiply; what one does not use is never computed.
#[derive(Clone, Copy)]
pub struct Weights {
    bytes: v128,
    /// Even and odd bytes, widened.
    words: [v128; 2],
    /// Of signed bytes: low nibbles, and high ones plus 8, so that neither is negative.
    #[cfg_attr(not(target_feature = "relaxed-simd"), expect(dead_code, reason = "of relaxed products only"))]
    nibbles: [v128; 2],
}

/// The zero point of the high nibbles of signed bytes.
pub const HIGH_ZERO: i16 = 8;

impl Weights {
    /// Integers from 0 to 63, which lie within 32 of the format's zero point.
    #[inline(always)]
    pub fn small(k: &Constants, bytes: v128) -> Self {
        Weights { bytes, words: [v128_and(bytes, k.even), u16x8_shr(bytes, 8)], nibbles: [bytes; 2] }
    }

    /// Signed bytes.
    #[inline(always)]
    pub fn signed(bytes: v128) -> Self {
        let (flipped, nibble) = (v128_xor(bytes, u8x16_splat(0x80)), u8x16_splat(15));
        let nibbles = [v128_and(bytes, nibble), v128_and(u16x8_shr(flipped, 4), nibble)];
        Self::signed_with(bytes, nibbles)
    }

    /// Signed bytes: the value at each index of a table, whose low nibbles and high ones plus 8 are
    /// tables of their own.
    #[inline(always)]
    pub fn look_up(tables: [v128; 3], indices: v128) -> Self {
        let [bytes, low, high] = tables.map(|table| swizzle(table, indices));
        Self::signed_with(bytes, [low, high])
    }

    #[inline(always)]
    fn signed_with(bytes: v128, nibbles: [v128; 2]) -> Self {
        Weights { bytes, words: [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)], nibbles }
    }
}

/// The table's value at each index below 16.
#[inline(always)]
pub fn swizzle(table: v128, indices: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return i8x16_relaxed_swizzle(table, indices);
    #[cfg(not(target_feature = "relaxed-simd"))]
    i8x16_swizzle(table, indices)
}

/// A way to multiply and add.
pub trait Sums: Copy {
    /// The way for signed bytes.
    type Signed: Sums;

    /// `negative` holds the negative sums of the group's activations, for 8 products each.
    #[inline(always)]
    fn new(negative: v128, zero: i16) -> Self {
        Self::new_at(negative, i16x8_splat(zero))
    }

    /// As [`Sums::new`], with the zero point in every lane.
    fn new_at(negative: v128, zero: v128) -> Self;

    /// What of weights is multiplied, for both of them the same vector where one is enough.
    fn operand(weights: Weights) -> [v128; 2];

    /// Whether one vector of an operand is enough.
    const NARROW: bool;

    /// Adds the products with the four activations that begin at value `at` of `pair`.
    ///
    /// # Safety
    /// `pair` points to a pair, and `at` is a multiple of 4 below 32.
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize);

    /// The integer scales of 4 rows in the form in which [`Sums::total`] takes them: as f32, unless an instance says
    /// otherwise.
    ///
    /// # Safety
    /// `scales` points to four.
    #[inline(always)]
    unsafe fn scales(scales: *const i16) -> v128 {
        // SAFETY: by the caller's promise.
        f32x4_convert_i32x4(unsafe { i32x4_load_extend_i16x4(scales) })
    }

    /// The sums of 4 rows as f32, multiplied by the rows' scales. With a scale that is an integer, too, they are below
    /// 2^24, and so exact in whatever order they are multiplied and converted.
    fn total(self, scales: Option<v128>) -> v128;
}

/// Sums in 16 bits, of small integers only.
#[derive(Clone, Copy)]
pub struct Pairs(v128);

/// Sums in 32 bits of bytes that are widened first.
#[derive(Clone, Copy)]
pub struct Widened(v128);

/// Sums in 32 bits of bytes that multiply in fours: of small integers.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct Fours(v128);

/// As [`Fours`], of the nibbles of signed bytes.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct Nibbles {
    low: v128,
    high: v128,
}

/// Minus the zero point times the sums of activations.
#[inline(always)]
fn start(negative: v128, zero: v128) -> v128 {
    i16x8_mul(negative, zero)
}

/// The sum of each row, scaled by a float.
#[inline(always)]
fn multiply(sums: v128, scales: Option<v128>) -> v128 {
    let sums = f32x4_convert_i32x4(sums);
    scales.map_or(sums, |scales| f32x4_mul(sums, scales))
}

/// Four activations, once for each row. Weights go into the operand of seven bits: for them the result
/// is defined, and no implementation saturates, since |2 · 63 · 127| < 2^15.
///
/// # Safety
/// `pair` points to a pair, and `at` is a multiple of 4 below 32.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn activations(pair: *const Pair, at: usize) -> v128 {
    // SAFETY: the four bytes lie within the pair's, by the caller's promise.
    unsafe { splat(pair, offset_of!(Pair, bytes) + at) }
}

/// The even two of four activations once for each row, and the odd two.
///
/// # Safety
/// `pair` points to a pair, and `at` is a multiple of 4 below 32.
#[inline(always)]
unsafe fn activation_words(pair: *const Pair, at: usize) -> [v128; 2] {
    let words = offset_of!(Pair, words) + 2 * at;
    // SAFETY: the four words lie within the pair's, by the caller's promise.
    unsafe { [splat(pair, words), splat(pair, words + 4)] }
}

impl Sums for Pairs {
    type Signed = Widened;
    const NARROW: bool = cfg!(target_feature = "relaxed-simd");

    #[inline(always)]
    fn operand(weights: Weights) -> [v128; 2] {
        if Self::NARROW { [weights.bytes; 2] } else { weights.words }
    }

    #[inline(always)]
    fn new_at(negative: v128, zero: v128) -> Self {
        Pairs(start(negative, zero))
    }

    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activations(pair, at) };
        self.0 = i16x8_add(self.0, i16x8_relaxed_dot_i8x16_i7x16(activations, operand[0]));
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activation_words(pair, at) };
        self.0 = i16x8_add(self.0, i16x8_mul(operand[0], activations[0]));
        self.0 = i16x8_add(self.0, i16x8_mul(operand[1], activations[1]));
    }

    /// 16-bit integers, twice for each row.
    #[inline(always)]
    unsafe fn scales(scales: *const i16) -> v128 {
        // SAFETY: by the caller's promise.
        let words = unsafe { v128_load64_zero(scales.cast()) };
        i16x8_shuffle::<0, 0, 1, 1, 2, 2, 3, 3>(words, words)
    }

    #[inline(always)]
    fn total(self, scales: Option<v128>) -> v128 {
        f32x4_convert_i32x4(match scales {
            Some(scales) => i32x4_dot_i16x8(self.0, scales),
            None => i32x4_extadd_pairwise_i16x8(self.0),
        })
    }
}

impl Sums for Widened {
    type Signed = Widened;
    const NARROW: bool = false;

    #[inline(always)]
    fn operand(weights: Weights) -> [v128; 2] {
        weights.words
    }

    #[inline(always)]
    fn new_at(_: v128, _: v128) -> Self {
        Widened(i32x4_splat(0))
    }

    #[inline(always)]
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activation_words(pair, at) };
        self.0 = i32x4_add(self.0, i32x4_dot_i16x8(operand[0], activations[0]));
        self.0 = i32x4_add(self.0, i32x4_dot_i16x8(operand[1], activations[1]));
    }

    #[inline(always)]
    fn total(self, scales: Option<v128>) -> v128 {
        multiply(self.0, scales)
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Sums for Fours {
    type Signed = Nibbles;
    const NARROW: bool = true;

    #[inline(always)]
    fn operand(weights: Weights) -> [v128; 2] {
        [weights.bytes; 2]
    }

    #[inline(always)]
    fn new_at(negative: v128, zero: v128) -> Self {
        Fours(i32x4_extadd_pairwise_i16x8(start(negative, zero)))
    }

    #[inline(always)]
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activations(pair, at) };
        self.0 = i32x4_relaxed_dot_i8x16_i7x16_add(activations, operand[0], self.0);
    }

    #[inline(always)]
    fn total(self, scales: Option<v128>) -> v128 {
        multiply(self.0, scales)
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Sums for Nibbles {
    type Signed = Nibbles;
    const NARROW: bool = false;

    #[inline(always)]
    fn operand(weights: Weights) -> [v128; 2] {
        weights.nibbles
    }

    #[inline(always)]
    fn new_at(negative: v128, _: v128) -> Self {
        Nibbles { low: i32x4_splat(0), high: i32x4_extadd_pairwise_i16x8(start(negative, i16x8_splat(HIGH_ZERO))) }
    }

    #[inline(always)]
    unsafe fn add(&mut self, operand: [v128; 2], pair: *const Pair, at: usize) {
        // SAFETY: by the caller's promise.
        let activations = unsafe { activations(pair, at) };
        let [low, high] = operand;
        self.low = i32x4_relaxed_dot_i8x16_i7x16_add(activations, low, self.low);
        self.high = i32x4_relaxed_dot_i8x16_i7x16_add(activations, high, self.high);
    }

    #[inline(always)]
    fn total(self, scales: Option<v128>) -> v128 {
        multiply(i32x4_add(self.low, i32x4_shl(self.high, 4)), scales)
    }
}
