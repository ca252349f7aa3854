//! Vector twins of the scalar functions: the same bits (but for what a NaN holds).

use super::{BLOCK, divisor, row_bytes};
use crate::arch::*;
use crate::vector::simd128::{load, store, sum_in_halves};
use std::array::from_fn;

/// Values to a row, rounded to the nearest integer, and to the even of two.
pub fn quantise(source: &[f32], row: &mut [u8]) {
    let (integers, scales) = row.split_at_mut(source.len());
    let blocks = source.chunks_exact(BLOCK).zip(integers.chunks_exact_mut(BLOCK));
    for ((source, integers), scale) in blocks.zip(scales.chunks_exact_mut(2)) {
        // SAFETY: the block has 32 values.
        let fours: [v128; BLOCK / 4] = from_fn(|i| unsafe { load(source, 4 * i) });
        let largest = fours.iter().fold(f32x4_splat(0.0), |most, four| f32x4_max(most, f32x4_abs(*four)));
        let largest = f32x4_max(largest, i64x2_shuffle::<1, 0>(largest, largest));
        let largest = f32x4_max(largest, i32x4_shuffle::<1, 0, 3, 2>(largest, largest));
        let (inverse, half) = divisor(f32x4_extract_lane::<0>(largest));
        scale.copy_from_slice(&half.to_le_bytes());
        let inverse = f32x4_splat(inverse);
        let whole = fours.map(|four| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(four, inverse))));
        for (sixteen, integers) in whole.chunks_exact(4).zip(integers.chunks_exact_mut(16)) {
            let low = i16x8_narrow_i32x4(sixteen[0], sixteen[1]);
            let high = i16x8_narrow_i32x4(sixteen[2], sixteen[3]);
            // SAFETY: these are 16 bytes.
            unsafe { v128_store(integers.as_mut_ptr().cast(), i8x16_narrow_i16x8(low, high)) };
        }
    }
}

/// The products of queries with keys, one row after the other, times `factor`. Queries begin at `rows` of `query`; the
/// scores of each lie `stride` after those of the one before.
pub fn dots(keys: &[u8], width: usize, query: &[f32], rows: &[usize], factor: f32, scores: &mut [f32], stride: usize) {
    for (four, scores) in rows.chunks(4).zip(scores.chunks_mut(4 * stride)) {
        // As many sums at a time as there are registers for.
        match *four {
            [a] => dots_of::<1, 4>(keys, width, query, [a], factor, scores, stride),
            [a, b] => dots_of::<2, 2>(keys, width, query, [a, b], factor, scores, stride),
            [a, b, c] => dots_of::<3, 1>(keys, width, query, [a, b, c], factor, scores, stride),
            [a, b, c, d] => dots_of::<4, 1>(keys, width, query, [a, b, c, d], factor, scores, stride),
            _ => {}
        }
    }
}

/// [`dots`] of `N` queries, `P` keys at a time.
#[inline(never)]
fn dots_of<const N: usize, const P: usize>(
    keys: &[u8],
    width: usize,
    query: &[f32],
    rows: [usize; N],
    factor: f32,
    scores: &mut [f32],
    stride: usize,
) {
    let queries = rows.map(|row| &query[row..][..width]);
    let bytes = row_bytes(width);
    let mut at = 0;
    let mut runs = keys.chunks_exact(P * bytes);
    for run in runs.by_ref() {
        dots_at::<N, P>(from_fn(|p| &run[p * bytes..][..bytes]), queries, factor, scores, stride, at);
        at += P;
    }
    for key in runs.remainder().chunks_exact(bytes) {
        dots_at([key], queries, factor, scores, stride, at);
        at += 1;
    }
}

/// The products of queries and keys, of which the first key is at position `at`.
#[inline(always)]
fn dots_at<const N: usize, const P: usize>(
    keys: [&[u8]; P],
    queries: [&[f32]; N],
    factor: f32,
    scores: &mut [f32],
    stride: usize,
    at: usize,
) {
    let width = queries[0].len();
    assert!(width.is_multiple_of(BLOCK) && queries.iter().all(|query| query.len() == width), "whole blocks");
    assert!(keys.iter().all(|key| key.len() == row_bytes(width)), "keys are as long as queries");
    let mut sums = [[f32x4_splat(0.0); N]; P];
    for block in 0..width / BLOCK {
        let mut products = [[f32x4_splat(0.0); N]; P];
        for i in (BLOCK * block..BLOCK * (block + 1)).step_by(8) {
            // SAFETY: all rows have eight integers from `i` on.
            let key = keys.map(|key| unsafe { load_eight(key, i) });
            for (first, key) in [(i, key.map(|[low, _]| low)), (i + 4, key.map(|[_, high]| high))] {
                for n in 0..N {
                    // SAFETY: all queries have four values from `first` on.
                    let query = unsafe { load(queries[n], first) };
                    for p in 0..P {
                        products[p][n] = f32x4_add(products[p][n], f32x4_mul(query, key[p]));
                    }
                }
            }
        }
        for p in 0..P {
            // SAFETY: the row has a scale for each block.
            let scale = f32x4_splat(unsafe { load_scale(keys[p], width, block) });
            for n in 0..N {
                sums[p][n] = f32x4_add(sums[p][n], f32x4_mul(products[p][n], scale));
            }
        }
    }
    for (p, sums) in sums.into_iter().enumerate() {
        for (n, sum) in sums.into_iter().enumerate() {
            scores[n * stride + at + p] = sum_in_halves(sum) * factor;
        }
    }
}

/// Adds values, one row after the other, times their weights. Sums begin at `rows` of `sums`; the weights of each lie
/// `stride` after those of the one before.
pub fn add_weighted(values: &[u8], width: usize, weights: &[f32], stride: usize, sums: &mut [f32], rows: &[usize]) {
    for (four, weights) in rows.chunks(4).zip(weights.chunks(4 * stride)) {
        match *four {
            [a] => add_weighted_of::<1, 8>(values, width, weights, stride, sums, [a]),
            [a, b] => add_weighted_of::<2, 4>(values, width, weights, stride, sums, [a, b]),
            [a, b, c] => add_weighted_of::<3, 2>(values, width, weights, stride, sums, [a, b, c]),
            [a, b, c, d] => add_weighted_of::<4, 2>(values, width, weights, stride, sums, [a, b, c, d]),
            _ => {}
        }
    }
}

/// [`add_weighted`] to `N` sums, of which `V` vectors, of one block, stay in registers while the values pass.
#[inline(never)]
fn add_weighted_of<const N: usize, const V: usize>(
    values: &[u8],
    width: usize,
    weights: &[f32],
    stride: usize,
    sums: &mut [f32],
    rows: [usize; N],
) {
    let bytes = row_bytes(width);
    let positions = values.len() / bytes;
    let weights: [&[f32]; N] = from_fn(|n| &weights[n * stride..][..positions]);
    assert!(width.is_multiple_of(BLOCK) && V.is_multiple_of(2) && V <= BLOCK / 4, "whole blocks");
    for i in (0..width).step_by(4 * V) {
        let own = rows.map(|row| row + i);
        // SAFETY: the slice has `4 V` values.
        let mut all: [[v128; V]; N] = own.map(|row| from_fn(|v| unsafe { load(&sums[row..][..4 * V], 4 * v) }));
        for (position, value) in values.chunks_exact(bytes).enumerate() {
            // SAFETY: the row has `4 V` integers from `i` on, and a scale for each block.
            let scale = unsafe { load_scale(value, width, i / BLOCK) };
            let shares: [v128; N] = from_fn(|n| f32x4_splat(weights[n][position] * scale));
            for v in (0..V).step_by(2) {
                // SAFETY: as before.
                let eight = unsafe { load_eight(value, i + 4 * v) };
                for (all, share) in all.iter_mut().zip(shares) {
                    for (sum, four) in all[v..v + 2].iter_mut().zip(eight) {
                        *sum = f32x4_add(*sum, f32x4_mul(share, four));
                    }
                }
            }
        }
        for (row, all) in own.into_iter().zip(all) {
            let sums = &mut sums[row..][..4 * V];
            // SAFETY: the slice has `4 V` values.
            all.into_iter().enumerate().for_each(|(v, sum)| unsafe { store(sums, 4 * v, sum) });
        }
    }
}

/// Eight integers of a row.
///
/// # Safety
/// The row has eight bytes from `i` on.
#[inline(always)]
unsafe fn load_eight(row: &[u8], i: usize) -> [v128; 2] {
    // SAFETY: by the caller's promise.
    let eight = unsafe { i16x8_load_extend_i8x8(row.as_ptr().add(i).cast()) };
    [i32x4_extend_low_i16x8(eight), i32x4_extend_high_i16x8(eight)].map(|four| f32x4_convert_i32x4(four))
}

/// The scale of a block, which is finite and not below zero.
///
/// # Safety
/// The row is as long as [`row_bytes`] says of `width` values, of which there is such a block.
#[inline(always)]
unsafe fn load_scale(row: &[u8], width: usize, block: usize) -> f32 {
    /// 2^112, by which the exponents of half precision numbers are short in place of those of f32.
    const UP: f32 = f32::from_bits((112 + 127) << 23);
    // SAFETY: by the caller's promise.
    let bits = unsafe { row.as_ptr().add(width + 2 * block).cast::<u16>().read_unaligned() };
    f32::from_bits(u32::from(bits) << 13) * UP
}
