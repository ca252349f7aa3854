//! The truth: the same functions as in the parent, one value at a time. Every vector kernel must give
//! the same bits (but for what a NaN holds).

use super::activations::{GROUP, PAIR, Pair};
use super::layout::{BLOCK_BYTES_MAX, file_block, row_bytes};
use super::{Activations, Input, Matrix, Product, f32_columns, quantised_columns};
use crate::quant::{DecodedBlock, Dtype, Minimums, Quants, dequantise_block};
use half::{bf16, f16};
use std::ops::Range;

/// The smallest group maximum that is told from zero: its inverse is finite.
pub(super) const MAXIMUM_MIN: f32 = 1e-36;

/// Rounds 32 values to int8, each 16 by their own maximum.
pub(super) fn quantise(source: &[f32; PAIR], pair: &mut Pair) {
    for (group, source) in source.chunks_exact(GROUP).enumerate() {
        let (scale, inverse) = group_scale(source);
        let mut sums = [0i16; 2];
        for (i, &source) in source.iter().enumerate() {
            let value = (source * inverse).round_ties_even() as i8;
            pair.set(GROUP * group + i, value);
            sums[i / 2 % 2] += i16::from(value);
        }
        pair.scales[group] = scale;
        pair.negative_sums[group] = sums.map(|sum| -sum);
        pair.sums[group] = scale * f32::from(sums[0] + sums[1]);
    }
    pair.sum = pair.sums[0] + pair.sums[1];
}

/// A group's scale, and what its values are multiplied with. NaN and infinity make the scale NaN or
/// infinite, so that they show in every product.
fn group_scale(group: &[f32]) -> (f32, f32) {
    let mut maximum = 0.0f32;
    for value in group {
        let magnitude = value.abs();
        if magnitude > maximum || magnitude.is_nan() {
            maximum = magnitude;
        }
    }
    if maximum < MAXIMUM_MIN {
        return (0.0, 0.0);
    }
    (maximum / 127.0, 127.0 / maximum)
}

/// See [`super::matmul`].
pub fn matmul(
    matrix: &Matrix,
    first_row: usize,
    rows: usize,
    input: Input,
    columns: Range<usize>,
    dst: &mut [f32],
    dst_stride: usize,
) {
    compute(Product::new(matrix, first_row, rows, columns, dst, dst_stride), input);
}

pub(super) fn compute(mut product: Product, input: Input) {
    let matrix = product.matrix;
    if super::wants_quantised(matrix.dtype) {
        let activations = quantised_columns(input, matrix.columns, &product.columns);
        for row in product.rows.clone() {
            quantised_row(&mut product, activations, row);
        }
    } else {
        let values = f32_columns(input, matrix.columns, &product.columns);
        for row in product.rows.clone() {
            float_row(&mut product, values, row);
        }
    }
}

/// See [`super::row`].
pub fn row(matrix: &Matrix, row: usize, dst: &mut [f32]) {
    assert!(row < matrix.rows && dst.len() == matrix.columns, "a row of the matrix");
    let mut bytes = [0; BLOCK_BYTES_MAX];
    for (index, out) in dst.chunks_exact_mut(matrix.dtype.block_values()).enumerate() {
        dequantise_block(matrix.dtype, file_block(matrix, row, index, &mut bytes), out);
    }
}

/// Columns that share one decoding of a row.
const TILE: usize = 16;

/// The product of one row of quants with every column.
pub(super) fn quantised_row(product: &mut Product, activations: &Activations, row: usize) {
    decoded_row(product, activations, row, add_block);
}

/// As [`quantised_row`], with a twin of [`add_block`].
pub(super) fn decoded_row(
    product: &mut Product,
    activations: &Activations,
    row: usize,
    add: impl Fn(&Quants, &DecodedBlock, &[Pair], f32) -> f32,
) {
    let matrix = product.matrix;
    let quants = matrix.dtype.quants().expect("rows of floats are not decoded");
    let pairs = matrix.dtype.block_values() / PAIR;
    let mut decoded = DecodedBlock::default();
    let mut bytes = [0; BLOCK_BYTES_MAX];
    for start in product.columns.clone().step_by(TILE) {
        let tile = start..product.columns.end.min(start + TILE);
        let mut sums = [0.0; TILE];
        for block in 0..matrix.columns / matrix.dtype.block_values() {
            (quants.decode)(file_block(matrix, row, block, &mut bytes), &mut decoded);
            for (sum, column) in sums.iter_mut().zip(tile.clone()) {
                let column = &activations.column(column)[block * pairs..][..pairs];
                *sum = add(quants, &decoded, column, *sum);
            }
        }
        for (sum, column) in sums.into_iter().zip(tile) {
            product.put(row, column, sum);
        }
    }
}

/// Adds the product of a block of a row with its values of a column to `sum`.
fn add_block(quants: &Quants, decoded: &DecodedBlock, column: &[Pair], sum: f32) -> f32 {
    // The first groups of all pairs are added up, and the second ones: vector code has either together.
    let (mut products, mut minimums) = ([0.0; 2], 0.0);
    for (at, (pair, weights)) in column.iter().zip(decoded.quants.as_chunks::<PAIR>().0).enumerate() {
        for (half, weights) in weights.as_chunks::<GROUP>().0.iter().enumerate() {
            // The product of the integers and of a scale that is one, too, is below 2^24, and so exact in f32.
            let product = decoded.scales[2 * at + half] * integer_product(weights, pair, half) as f32;
            products[half] += pair.scales[half] * product;
        }
        if quants.minimums == Some(Minimums::Groups) {
            minimums += decoded.minimums[2 * at] * pair.sums[0];
            minimums += decoded.minimums[2 * at + 1] * pair.sums[1];
        } else {
            minimums += decoded.minimums[2 * at] * pair.sum;
        }
    }
    let sum = sum + decoded.scale * (products[0] + products[1]);
    if quants.minimums.is_some() { sum - decoded.minimum * minimums } else { sum }
}

/// The product of 16 weights with the first or the second group of `pair`.
fn integer_product(weights: &[i8; GROUP], pair: &Pair, half: usize) -> i32 {
    weights.iter().enumerate().map(|(i, &weight)| i32::from(weight) * pair.value(half * GROUP + i)).sum()
}

/// The product of one row of floats with every column: four sums, of every fourth value each, as a
/// vector's lanes have it.
pub(super) fn float_row(product: &mut Product, values: &[f32], row: usize) {
    let matrix = product.matrix;
    let bytes = &matrix.bytes[row * row_bytes(matrix.dtype, matrix.columns)..];
    let weight = |i: usize| match matrix.dtype {
        Dtype::F32 => f32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]),
        Dtype::F16 => f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32(),
        _ => bf16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32(),
    };
    for column in product.columns.clone() {
        let values = &values[column * matrix.columns..][..matrix.columns];
        let mut lanes = [0.0; 4];
        let whole = matrix.columns & !3;
        for at in (0..whole).step_by(4) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += weight(at + lane) * values[at + lane];
            }
        }
        let mut sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
        for (at, value) in values.iter().enumerate().take(matrix.columns).skip(whole) {
            sum += weight(at) * value;
        }
        product.put(row, column, sum);
    }
}
