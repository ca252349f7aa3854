//! How weights lie in memory. Matrices of a format with an [`Interleaving`] are repacked once,
//! in place. Rows after the last whole group of 8, and other matrices, stay as they are in the file.

use super::Matrix;
use crate::quant::{Dtype, GROUP_ROWS, Interleaving};

/// The largest block of any format, in bytes.
pub const BLOCK_BYTES_MAX: usize = {
    let (mut largest, mut at) = (0, 0);
    while at < Dtype::ALL.len() {
        let bytes = Dtype::ALL[at].block_bytes();
        largest = if bytes > largest { bytes } else { largest };
        at += 1;
    }
    largest
};

/// How rows of the type alternate, if they do.
pub fn interleaving(dtype: Dtype) -> Option<&'static Interleaving> {
    dtype.quants()?.interleaving.as_ref()
}

/// Bytes of a row. Shapes were checked when the header was read.
pub fn row_bytes(dtype: Dtype, columns: usize) -> usize {
    assert_eq!(columns % dtype.block_values(), 0, "rows of {} are whole blocks", dtype.name());
    columns / dtype.block_values() * dtype.block_bytes()
}

/// Bytes that are repacked together: 8 rows of a type that is repacked, and as many of any other.
pub fn repack_unit(dtype: Dtype, columns: usize) -> usize {
    (GROUP_ROWS * row_bytes(dtype, columns)).max(1)
}

/// Writes `rows`, whole groups of 8 rows as they are in the file, to `packed` as they lie in memory.
pub fn interleave(dtype: Dtype, columns: usize, rows: &[u8], packed: &mut [u8]) {
    match interleaving(dtype) {
        Some(interleaving) => (interleaving.interleave)(row_bytes(dtype, columns), rows, packed),
        None => packed.copy_from_slice(rows),
    }
}

/// Permutes the bytes of complete 8-row groups in place; what follows the last one stays as it is.
/// `bytes` begins with a row whose number is a multiple of 8; `scratch` grows to the size of one group
/// and can be used again.
pub fn repack(dtype: Dtype, columns: usize, bytes: &mut [u8], scratch: &mut Vec<u8>) {
    let Some(interleaving) = interleaving(dtype) else { return };
    let group_bytes = repack_unit(dtype, columns);
    scratch.resize(scratch.len().max(group_bytes), 0);
    for group in bytes.chunks_exact_mut(group_bytes) {
        scratch[..group_bytes].copy_from_slice(group);
        (interleaving.interleave)(row_bytes(dtype, columns), &scratch[..group_bytes], group);
    }
}

/// Block `index` of row `row`, as it was in the file; `block` is where it is put together if rows alternate.
pub fn file_block<'b>(matrix: &Matrix<'b>, row: usize, index: usize, block: &'b mut [u8; BLOCK_BYTES_MAX]) -> &'b [u8] {
    let (row_bytes, block_bytes) = (row_bytes(matrix.dtype, matrix.columns), matrix.dtype.block_bytes());
    let group = row / GROUP_ROWS;
    let is_whole = (group + 1) * GROUP_ROWS <= matrix.rows;
    let Some(interleaving) = interleaving(matrix.dtype).filter(|_| is_whole) else {
        return &matrix.bytes[row * row_bytes + index * block_bytes..][..block_bytes];
    };
    let packed = &matrix.bytes[GROUP_ROWS * (group * row_bytes + index * block_bytes)..][..GROUP_ROWS * block_bytes];
    let block = &mut block[..block_bytes];
    interleaving.gather(packed, row % GROUP_ROWS, block);
    block
}
