//! The truth: the same functions as in the parent, one value at a time. Every vector kernel must give
//! the same bits (but for what a NaN holds).

use super::activations::{Column, ColumnMut, GROUP, PAIR};
use super::layout::{BLOCK_BYTES_MAX, file_block, row_bytes};
use super::{Activations, Input, Matrix, Product, f32_columns, quantised_columns};
use crate::quant::{Dtype, Parts, dequantise_block};
use half::{bf16, f16};
use std::ops::Range;

/// The smallest group maximum that is told from zero: its inverse is finite.
pub(super) const MAXIMUM_MIN: f32 = 1e-36;

/// Rounds a column to int8, each group by its own maximum.
pub(super) fn quantise(source: &[f32], column: ColumnMut) {
    for (group, source) in source.chunks_exact(GROUP).enumerate() {
        let values = &mut column.values[group * GROUP..][..GROUP];
        let (scale, inverse) = group_scale(source);
        let mut sum = 0;
        for (value, &source) in values.iter_mut().zip(source) {
            *value = (source * inverse).round_ties_even() as i8;
            sum += i32::from(*value);
        }
        column.scales[group] = scale;
        column.negative_sums[group] = -sum;
        column.sums[group] = scale * sum as f32;
    }
    for (pair, sums) in column.pair_sums.iter_mut().zip(column.sums.chunks_exact(2)) {
        *pair = sums[0] + sums[1];
    }
    #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
    for (words, values) in column.words.chunks_exact_mut(4).zip(column.values.chunks_exact(4)) {
        words.copy_from_slice(&[values[0], values[2], values[1], values[3]].map(i16::from));
    }
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

/// The product of one row with every column.
pub(super) fn quantised_row(product: &mut Product, activations: &Activations, row: usize) {
    let matrix = product.matrix;
    let mut parts = Parts::default();
    let mut bytes = [0; BLOCK_BYTES_MAX];
    for start in product.columns.clone().step_by(TILE) {
        let tile = start..product.columns.end.min(start + TILE);
        let mut sums = [0.0; TILE];
        for block in 0..matrix.columns / matrix.dtype.block_values() {
            parts.decode(matrix.dtype, file_block(matrix, row, block, &mut bytes));
            for (sum, column) in sums.iter_mut().zip(tile.clone()) {
                *sum = add_block(matrix.dtype, &parts, &activations.column(column), block, *sum);
            }
        }
        for (sum, column) in sums.into_iter().zip(tile) {
            product.put(row, column, sum);
        }
    }
}

/// Adds the product of block number `index` of a row with a column to `sum`.
fn add_block(dtype: Dtype, parts: &Parts, column: &Column, index: usize, sum: f32) -> f32 {
    let (values, first) = (dtype.block_values(), index * dtype.block_values());
    // Formats with a scale for each 16 values apply it to each group, the others to pairs of groups.
    let fine = matches!(dtype, Dtype::Q2_K | Dtype::Q3_K | Dtype::Q6_K);
    let (mut products, mut minimums) = (0.0, 0.0);
    for pair in 0..values / PAIR {
        let (at, group) = (first / PAIR + pair, 2 * pair);
        let low = group_product(parts, column, first, group);
        let high = group_product(parts, column, first, group + 1);
        if fine {
            products += parts.scales[group] * low;
            products += parts.scales[group + 1] * high;
            minimums += parts.minimums[group] * column.sums[2 * at];
            minimums += parts.minimums[group + 1] * column.sums[2 * at + 1];
        } else {
            products += parts.scales[group] * (low + high);
            minimums += parts.minimums[group] * column.pair_sums[at];
        }
    }
    let sum = sum + parts.scale * products;
    if has_minimums(dtype) { sum - parts.minimum * minimums } else { sum }
}

/// Group `group` of a block that begins at value `first`: the integers' product, scaled.
fn group_product(parts: &Parts, column: &Column, first: usize, group: usize) -> f32 {
    let weights = &parts.quants[group * GROUP..][..GROUP];
    let values = &column.values[first + group * GROUP..][..GROUP];
    let product: i32 = weights.iter().zip(values).map(|(&w, &a)| i32::from(w) * i32::from(a)).sum();
    column.scales[first / GROUP + group] * product as f32
}

/// Whether values of the format have a minimum or offset of their own.
fn has_minimums(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q2_K | Dtype::Q4_K | Dtype::Q5_K)
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
        for at in whole..matrix.columns {
            sum += weight(at) * values[at];
        }
        product.put(row, column, sum);
    }
}
