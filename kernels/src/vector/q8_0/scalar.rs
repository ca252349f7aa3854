//! The truth, in the order of additions that the vector twins have.

use super::{BLOCK, divisor, parts, scale};
use crate::vector::scalar::maximum;

/// Values to a row, rounded to the nearest integer, and to the even of two.
pub fn quantise(source: &[f32], row: &mut [u8]) {
    let (integers, scales) = row.split_at_mut(source.len());
    for ((source, integers), scale) in source.chunks(BLOCK).zip(integers.chunks_mut(BLOCK)).zip(scales.chunks_mut(2)) {
        let mut magnitudes = [0.0; BLOCK];
        magnitudes.iter_mut().zip(source).for_each(|(magnitude, value)| *magnitude = value.abs());
        let (inverse, half) = divisor(maximum(&magnitudes));
        scale.copy_from_slice(&half.to_le_bytes());
        for (integer, value) in integers.iter_mut().zip(source) {
            *integer = (value * inverse).round_ties_even() as i8 as u8;
        }
    }
}

/// The products of queries with keys, one row after the other, times `factor`. Queries begin at `rows` of `query`; the
/// scores of each lie `stride` after those of the one before.
pub fn dots(keys: &[u8], width: usize, query: &[f32], rows: &[usize], factor: f32, scores: &mut [f32], stride: usize) {
    let bytes = super::row_bytes(width);
    for (index, row) in rows.iter().enumerate() {
        for (key, score) in keys.chunks_exact(bytes).zip(&mut scores[index * stride..]) {
            let (integers, scales) = parts(key, width);
            // Lane j has every fourth product from j on, block by block; lanes are then added in halves.
            let mut lanes = [0.0; 4];
            for (block, (query, integers)) in
                query[*row..][..width].chunks(BLOCK).zip(integers.chunks(BLOCK)).enumerate()
            {
                let mut products = [0.0; 4];
                for (i, (q, k)) in query.iter().zip(integers).enumerate() {
                    products[i % 4] += q * f32::from(*k);
                }
                let scale = scale(scales, block);
                lanes.iter_mut().zip(products).for_each(|(lane, product)| *lane += product * scale);
            }
            *score = ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) * factor;
        }
    }
}

/// Adds values, one row after the other, times their weights. Sums begin at `rows` of `sums`; the weights of each lie
/// `stride` after those of the one before.
pub fn add_weighted(values: &[u8], width: usize, weights: &[f32], stride: usize, sums: &mut [f32], rows: &[usize]) {
    let bytes = super::row_bytes(width);
    for (index, row) in rows.iter().enumerate() {
        let sums = &mut sums[*row..][..width];
        for (value, weight) in values.chunks_exact(bytes).zip(&weights[index * stride..]) {
            let (integers, scales) = parts(value, width);
            for (block, (sums, integers)) in sums.chunks_mut(BLOCK).zip(integers.chunks(BLOCK)).enumerate() {
                let share = weight * scale(scales, block);
                sums.iter_mut().zip(integers).for_each(|(sum, integer)| *sum += share * f32::from(*integer));
            }
        }
    }
}
