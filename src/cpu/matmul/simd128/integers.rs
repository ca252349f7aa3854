//! Products of small integers: 4 rows × 4 weights with 4 activations that every row shares. Each lane
//! of a sum is a row, so nothing is added across lanes. Both instances are exact.

use super::super::activations::Pair;
use crate::cpu::arch::*;

/// What the integers of a format are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 0 to 31
    Narrow,
    /// 0 to 63
    Middle,
    /// −128 to 127
    Signed,
}

#[cfg(not(target_feature = "relaxed-simd"))]
pub use words::{Planes, Sums};

#[cfg(target_feature = "relaxed-simd")]
pub use bytes::{Planes, Sums};

/// With relaxed SIMD: one instruction multiplies bytes and adds four products to each lane. Its second
/// operand may only hold 7 bits for the result to be defined; weights go there, activations into the
/// first, and then no implementation can saturate: |127 · 127 · 2| < 2^15.
#[cfg(target_feature = "relaxed-simd")]
mod bytes {
    use super::*;

    /// Sixteen weights, ready to multiply: their low seven bits and, of signed ones, the sign bit.
    #[derive(Clone, Copy)]
    pub struct Planes {
        low: v128,
        sign: v128,
    }

    /// The sums of 4 rows.
    #[derive(Clone, Copy)]
    pub struct Sums {
        low: v128,
        sign: v128,
    }

    impl Planes {
        #[inline(always)]
        pub fn new(range: Range, weights: v128) -> Self {
            if range != Range::Signed {
                return Planes { low: weights, sign: weights };
            }
            let low = v128_and(weights, u8x16_splat(0x7f));
            let sign = v128_and(u16x8_shr(weights, 7), u8x16_splat(1));
            Planes { low, sign }
        }
    }

    impl Sums {
        #[inline(always)]
        pub fn new(start: v128) -> Self {
            Sums { low: start, sign: i32x4_splat(0) }
        }

        /// Adds the products with the four activations that begin at value `at` of `pair`.
        ///
        /// # Safety
        /// `pair` points to a pair, and `at` is a multiple of 4 below 32.
        #[inline(always)]
        pub unsafe fn add(&mut self, range: Range, planes: Planes, pair: *const Pair, at: usize) {
            // SAFETY: the four bytes lie within the pair's integers, by the caller's promise.
            let activations = unsafe { v128_load32_splat((&raw const (*pair).integers).cast::<i8>().add(at).cast()) };
            self.low = i32x4_relaxed_dot_i8x16_i7x16_add(activations, planes.low, self.low);
            if range == Range::Signed {
                self.sign = i32x4_relaxed_dot_i8x16_i7x16_add(activations, planes.sign, self.sign);
            }
        }

        /// A sign bit counts −128.
        #[inline(always)]
        pub fn total(self, range: Range) -> v128 {
            if range == Range::Signed { i32x4_sub(self.low, i32x4_shl(self.sign, 7)) } else { self.low }
        }
    }
}

/// Without: weights are split into even and odd bytes, widened to 16 bits, and multiply with the even
/// and odd activations. Sixteen-bit sums hold a group of small weights: 8 products of 31 · 127, or 4
/// of 63 · 127. Signed weights need 32 bits at once.
#[cfg(not(target_feature = "relaxed-simd"))]
mod words {
    use super::*;

    /// Sixteen weights, widened.
    #[derive(Clone, Copy)]
    pub struct Planes {
        even: v128,
        odd: v128,
    }

    /// The sums of 4 rows: for narrow and middle weights in pairs of 16-bit lanes, odd ones apart for
    /// the latter.
    #[derive(Clone, Copy)]
    pub struct Sums {
        start: v128,
        even: v128,
        odd: v128,
    }

    impl Planes {
        #[inline(always)]
        pub fn new(range: Range, weights: v128) -> Self {
            if range == Range::Signed {
                return Planes { even: i16x8_shr(i16x8_shl(weights, 8), 8), odd: i16x8_shr(weights, 8) };
            }
            Planes { even: v128_and(weights, u16x8_splat(0xff)), odd: u16x8_shr(weights, 8) }
        }
    }

    impl Sums {
        #[inline(always)]
        pub fn new(start: v128) -> Self {
            Sums { start, even: i32x4_splat(0), odd: i32x4_splat(0) }
        }

        /// Adds the products with the four activations that begin at value `at` of `pair`.
        ///
        /// # Safety
        /// `pair` points to a pair, and `at` is a multiple of 4 below 32.
        #[inline(always)]
        pub unsafe fn add(&mut self, range: Range, planes: Planes, pair: *const Pair, at: usize) {
            let words = unsafe { (&raw const (*pair).integers).cast::<i16>().add(at) };
            // SAFETY: the four words lie within the pair's integers, by the caller's promise.
            let even = unsafe { v128_load32_splat(words.cast()) };
            // SAFETY: as before.
            let odd = unsafe { v128_load32_splat(words.add(2).cast()) };
            match range {
                Range::Narrow => {
                    self.even = i16x8_add(self.even, i16x8_mul(planes.even, even));
                    self.even = i16x8_add(self.even, i16x8_mul(planes.odd, odd));
                }
                Range::Middle => {
                    self.even = i16x8_add(self.even, i16x8_mul(planes.even, even));
                    self.odd = i16x8_add(self.odd, i16x8_mul(planes.odd, odd));
                }
                Range::Signed => {
                    self.start = i32x4_add(self.start, i32x4_dot_i16x8(planes.even, even));
                    self.start = i32x4_add(self.start, i32x4_dot_i16x8(planes.odd, odd));
                }
            }
        }

        #[inline(always)]
        pub fn total(self, range: Range) -> v128 {
            let even = i32x4_extadd_pairwise_i16x8(self.even);
            match range {
                Range::Narrow => i32x4_add(self.start, even),
                Range::Middle => i32x4_add(i32x4_add(self.start, even), i32x4_extadd_pairwise_i16x8(self.odd)),
                Range::Signed => self.start,
            }
        }
    }
}
