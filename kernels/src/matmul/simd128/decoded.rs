//! Products of blocks that are decoded one after another, four groups at a time.

use super::super::activations::{GROUP, PAIR, Pair};
use crate::arch::*;
use crate::quant::{DecodedBlock, Dtype};

/// Values whose groups are scaled together.
const VALUES: usize = 2 * PAIR;

/// Weights are at most this. Where bytes multiply with seven bits they are raised by it and one more.
#[cfg(target_feature = "relaxed-simd")]
const MOST: i8 = 63;

/// Whether [`add_block`] is for blocks of this type: whole pairs of pairs, without minimums.
pub fn takes(dtype: Dtype) -> bool {
    dtype.block_values().is_multiple_of(VALUES) && dtype.quants().is_some_and(|quants| quants.minimums.is_none())
}

/// Adds the product of a block of a row with its values of a column to `sum`: see the scalar twin.
#[inline]
pub fn add_block(decoded: &DecodedBlock, column: &[Pair], sum: f32) -> f32 {
    let mut products = f32x4_splat(0.0);
    let weights = decoded.quants.as_chunks::<VALUES>().0;
    let scales = decoded.scales.as_chunks::<4>().0;
    for ((pairs, weights), scales) in column.as_chunks::<2>().0.iter().zip(weights).zip(scales) {
        let groups =
            [0, 1, 2, 3].map(|group| integers(&weights.as_chunks::<GROUP>().0[group], &pairs[group / 2], group % 2));
        let integers = i32x4_add(across(groups), start(pairs));
        // SAFETY: four scales of the block, and two of each pair.
        let (scales, of_pairs) = unsafe {
            let first = v128_load64_zero(pairs[0].scales.as_ptr().cast());
            (v128_load(scales.as_ptr().cast()), v128_load64_lane::<1>(first, pairs[1].scales.as_ptr().cast()))
        };
        let product = f32x4_mul(of_pairs, f32x4_mul(scales, f32x4_convert_i32x4(integers)));
        // The first and the second groups have a lane each; the others hold nothing that is read.
        products = f32x4_add(products, product);
        products = f32x4_add(products, i64x2_shuffle::<1, 0>(product, product));
    }
    sum + decoded.scale * (f32x4_extract_lane::<0>(products) + f32x4_extract_lane::<1>(products))
}

/// The sums of four vectors.
#[inline(always)]
fn across([a, b, c, d]: [v128; 4]) -> v128 {
    let two = |a, b| i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    i32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd))
}

/// What takes from the products that weights are raised: minus the sums of the activations so many times.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn start(pairs: &[Pair; 2]) -> v128 {
    // SAFETY: both have two negative sums for each of two groups, of 8 bytes together.
    let negative = unsafe {
        let first = v128_load64_zero(pairs[0].negative_sums.as_ptr().cast());
        v128_load64_lane::<1>(first, pairs[1].negative_sums.as_ptr().cast())
    };
    i32x4_dot_i16x8(negative, i16x8_splat(i16::from(MOST) + 1))
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
fn start(_: &[Pair; 2]) -> v128 {
    i32x4_splat(0)
}

/// The product of 16 weights with the first or the second group of `pair`: the sum of the lanes.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn integers(weights: &[i8; GROUP], pair: &Pair, half: usize) -> v128 {
    // SAFETY: weights and activations are 16 bytes each.
    let (weights, activations) =
        unsafe { (v128_load(weights.as_ptr().cast()), v128_load(pair.bytes.as_ptr().add(GROUP * half).cast())) };
    // Neither saturates nor depends on the implementation: |2 · 127 · 127| < 2^15.
    i32x4_relaxed_dot_i8x16_i7x16_add(activations, i8x16_add(weights, i8x16_splat(MOST + 1)), i32x4_splat(0))
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
fn integers(weights: &[i8; GROUP], pair: &Pair, half: usize) -> v128 {
    // SAFETY: the weights are a vector of 16 bytes, and the group's activations two of 8 words.
    let (weights, words) = unsafe {
        let words = pair.words.as_ptr().add(GROUP * half);
        (v128_load(weights.as_ptr().cast()), [v128_load(words.cast()), v128_load(words.add(8).cast())])
    };
    // Of each four activations the even two come first.
    let weights = u8x16_shuffle::<0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15>(weights, weights);
    let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(weights), words[0]);
    let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(weights), words[1]);
    i32x4_add(low, high)
}
