//! Rows of floats times f32 columns. Each product of a row and a column has one vector of sums; several
//! rows or columns at a time keep the adders busy.

use super::super::Product;
use super::super::layout::row_bytes;
use crate::arch::*;
use crate::quant::Dtype;
use crate::vector::{half_constants, load_f16};
use half::{bf16, f16};
use std::ops::Range;

/// A type of floating-point weights.
pub trait Float {
    const DTYPE: Dtype;

    /// Four weights.
    ///
    /// # Safety
    /// `weights` points to four of them.
    unsafe fn load(weights: *const u8) -> v128;

    /// The weight in these bytes.
    fn one(bytes: &[u8]) -> f32;
}

pub struct F32;
pub struct F16;
pub struct BF16;

impl Float for F32 {
    const DTYPE: Dtype = Dtype::F32;

    #[inline(always)]
    unsafe fn load(weights: *const u8) -> v128 {
        // SAFETY: by the caller's promise.
        unsafe { v128_load(weights.cast()) }
    }

    fn one(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl Float for F16 {
    const DTYPE: Dtype = Dtype::F16;

    #[inline(always)]
    unsafe fn load(weights: *const u8) -> v128 {
        // SAFETY: by the caller's promise.
        unsafe { load_f16(weights.cast(), half_constants()) }
    }

    fn one(bytes: &[u8]) -> f32 {
        f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }
}

impl Float for BF16 {
    const DTYPE: Dtype = Dtype::BF16;

    #[inline(always)]
    unsafe fn load(weights: *const u8) -> v128 {
        // SAFETY: by the caller's promise.
        i32x4_shl(unsafe { i32x4_load_extend_u16x4(weights.cast()) }, 16)
    }

    fn one(bytes: &[u8]) -> f32 {
        bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }
}

/// All rows and columns of a product: four columns at a time by two rows, and what remains of columns
/// by four rows.
pub fn rows<W: Float>(product: &mut Product, values: &[f32]) {
    let Range { start, end } = product.columns;
    let tiled = start + (end - start) / 4 * 4;
    let mut row = product.rows.start;
    while row < product.rows.end {
        let two = product.rows.end - row >= 2;
        for column in (start..tiled).step_by(4) {
            match two {
                true => tile::<W, 2, 4>(product, values, row, column),
                false => tile::<W, 1, 4>(product, values, row, column),
            }
        }
        row += if two { 2 } else { 1 };
    }
    row = product.rows.start;
    while row < product.rows.end {
        let four = product.rows.end - row >= 4;
        for column in tiled..end {
            match four {
                true => tile::<W, 4, 1>(product, values, row, column),
                false => tile::<W, 1, 1>(product, values, row, column),
            }
        }
        row += if four { 4 } else { 1 };
    }
}

/// `ROWS` rows times `COLUMNS` columns.
#[inline(never)]
fn tile<W: Float, const ROWS: usize, const COLUMNS: usize>(
    product: &mut Product,
    values: &[f32],
    row: usize,
    column: usize,
) {
    let (length, row_bytes) = (product.matrix.columns, row_bytes(W::DTYPE, product.matrix.columns));
    let weights: [&[u8]; ROWS] = std::array::from_fn(|r| &product.matrix.bytes[(row + r) * row_bytes..][..row_bytes]);
    let values: [&[f32]; COLUMNS] = std::array::from_fn(|c| &values[(column + c) * length..][..length]);
    let (whole, size) = (length & !3, W::DTYPE.block_bytes());
    let mut sums = [[f32x4_splat(0.0); COLUMNS]; ROWS];
    for at in (0..whole).step_by(4) {
        // SAFETY: `at + 3` is a place in every row and column: both have `length` values.
        let inputs = values.map(|values| unsafe { v128_load(values.as_ptr().add(at).cast()) });
        for (weights, sums) in weights.iter().zip(&mut sums) {
            // SAFETY: as before.
            let weights = unsafe { W::load(weights.as_ptr().add(at * size)) };
            for (sum, input) in sums.iter_mut().zip(inputs) {
                *sum = f32x4_add(*sum, f32x4_mul(weights, input));
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (c, sum) in sums.into_iter().enumerate() {
            let halves = f32x4_add(sum, i64x2_shuffle::<1, 0>(sum, sum));
            let mut sum = f32x4_extract_lane::<0>(halves) + f32x4_extract_lane::<1>(halves);
            for at in whole..length {
                sum += W::one(&weights[r][at * size..]) * values[c][at];
            }
            product.put(row + r, column + c, sum);
        }
    }
}
