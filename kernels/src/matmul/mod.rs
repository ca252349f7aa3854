//! Matrix · batch of columns for weights of every type, without expanding the weights in memory.
//!
//! Floats multiply with f32 activations. Quantised weights multiply with activations rounded to int8
//! ([`Activations`]); sums of integers are exact, and floats are combined in one fixed order, so that
//! the scalar code and both vector builds agree to the bit, whatever the number of columns.

mod activations;
mod layout;
pub mod scalar;
#[cfg(target_family = "wasm")]
mod simd128;
#[cfg(test)]
mod tests;

pub use crate::quant::GROUP_ROWS;
pub use activations::Activations;
pub use layout::{interleave, repack, repack_unit};
#[cfg(all(target_family = "wasm", target_feature = "relaxed-simd"))]
pub use simd128::fours;

use crate::quant::Dtype;
use std::ops::Range;

/// A weight matrix in memory.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// How the blocks of a row are encoded.
    pub dtype: Dtype,
    /// Values in a row: whole blocks.
    pub columns: usize,
    /// Values of a product with one column.
    pub rows: usize,
    /// `rows` rows, after [`repack`].
    pub bytes: &'a [u8],
}

/// The right side of a product: columns of as many values as the matrix has columns.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One column after another.
    F32(&'a [f32]),
    /// The same columns rounded to int8, for the types that want it.
    Quantised(&'a Activations),
}

/// Whether matrices of this type multiply with quantised activations (else f32).
pub fn wants_quantised(dtype: Dtype) -> bool {
    dtype.quants().is_some()
}

/// `dst[t · dst_stride + r]` = `W[first_row + r]` · `x[t]` for r in 0..rows and t in `columns`, the numbers
/// of columns of `input`. The input must be of the kind that [`wants_quantised`] tells.
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

/// As [`matmul`], but adds the product to what `dst` holds.
pub fn matmul_add(
    matrix: &Matrix,
    first_row: usize,
    rows: usize,
    input: Input,
    columns: Range<usize>,
    dst: &mut [f32],
    dst_stride: usize,
) {
    let product = Product::new(matrix, first_row, rows, columns, dst, dst_stride);
    compute(Product { accumulate: true, ..product }, input);
}

#[cfg(target_family = "wasm")]
fn compute(product: Product, input: Input) {
    simd128::compute(product, input);
}

#[cfg(not(target_family = "wasm"))]
fn compute(product: Product, input: Input) {
    scalar::compute(product, input);
}

/// One row, dequantised.
pub fn row(matrix: &Matrix, row: usize, dst: &mut [f32]) {
    scalar::row(matrix, row, dst);
}

/// A product that was checked: every row, column and element of the destination exists.
struct Product<'a, 'd> {
    matrix: &'a Matrix<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    dst: &'d mut [f32],
    dst_stride: usize,
    /// Whether the result is added to `dst`.
    accumulate: bool,
}

impl<'a, 'd> Product<'a, 'd> {
    fn new(
        matrix: &'a Matrix<'a>,
        first_row: usize,
        rows: usize,
        columns: Range<usize>,
        dst: &'d mut [f32],
        dst_stride: usize,
    ) -> Self {
        assert!(first_row + rows <= matrix.rows, "rows {first_row} + {rows} of {}", matrix.rows);
        let row_bytes = layout::row_bytes(matrix.dtype, matrix.columns);
        assert_eq!(matrix.bytes.len(), matrix.rows * row_bytes, "the bytes of the matrix");
        if !columns.is_empty() {
            assert!(columns.len() == 1 || rows <= dst_stride, "columns of the result do not overlap");
            assert!((columns.end - 1) * dst_stride + rows <= dst.len(), "room for the result");
        }
        Product { matrix, rows: first_row..first_row + rows, columns, dst, dst_stride, accumulate: false }
    }

    fn put(&mut self, row: usize, column: usize, value: f32) {
        let dst = &mut self.dst[column * self.dst_stride + row - self.rows.start];
        *dst = if self.accumulate { *dst + value } else { value };
    }
}

/// The columns of an f32 input, which must suffice.
fn f32_columns<'a>(input: Input<'a>, length: usize, columns: &Range<usize>) -> &'a [f32] {
    match input {
        Input::F32(values) => {
            assert!(columns.end * length <= values.len(), "a value for every element");
            values
        }
        Input::Quantised(_) => panic!("floats multiply with f32 activations"),
    }
}

/// The columns of a quantised input, which must suffice.
fn quantised_columns<'a>(input: Input<'a>, length: usize, columns: &Range<usize>) -> &'a Activations {
    match input {
        Input::Quantised(activations) => {
            assert_eq!(activations.length(), length, "columns as long as the rows");
            assert!(columns.end <= activations.columns(), "column {} of {}", columns.end, activations.columns());
            activations
        }
        Input::F32(_) => panic!("quantised weights multiply with quantised activations"),
    }
}
