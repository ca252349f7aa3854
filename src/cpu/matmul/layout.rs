//! How weights lie in memory. Quantised matrices are repacked once, in place, so that a vector load
//! takes the same field of several rows: each group of 8 consecutive rows becomes a run of interleaved
//! blocks, and in an interleaved block every unit (2 bytes of a scale, 4 bytes of quants) of the file's
//! block is followed by the same unit of the next row. Sixteen bytes of quants are 4 rows × 4 bytes.
//! Rows after the last whole group, and matrices of floats, stay as they are in the file.

use super::Matrix;
use crate::quant::Dtype;

/// Rows that are interleaved.
pub const GROUP_ROWS: usize = 8;

/// The largest block of any format, in bytes.
pub const BLOCK_BYTES_MAX: usize = 292;

/// A field of a block: its length and the unit in which rows alternate, in bytes.
struct Field {
    bytes: usize,
    unit: usize,
}

const fn field(bytes: usize, unit: usize) -> Field {
    Field { bytes, unit }
}

/// The fields of a block in the order of the file. Units are as the kernels read them: 1 byte for
/// integer scales, 2 for f16, 4 for quants.
fn fields(dtype: Dtype) -> &'static [Field] {
    const Q4_0: &[Field] = &[field(2, 2), field(16, 4)];
    const Q4_1: &[Field] = &[field(4, 2), field(16, 4)];
    const Q5_0: &[Field] = &[field(2, 2), field(4, 4), field(16, 4)];
    const Q5_1: &[Field] = &[field(4, 2), field(4, 4), field(16, 4)];
    const Q8_0: &[Field] = &[field(2, 2), field(32, 4)];
    const MXFP4: &[Field] = &[field(1, 1), field(16, 4)];
    const Q2_K: &[Field] = &[field(16, 1), field(64, 4), field(4, 2)];
    const Q3_K: &[Field] = &[field(32, 4), field(64, 4), field(12, 1), field(2, 2)];
    const Q4_K: &[Field] = &[field(4, 2), field(12, 1), field(128, 4)];
    const Q5_K: &[Field] = &[field(4, 2), field(12, 1), field(32, 4), field(128, 4)];
    const Q6_K: &[Field] = &[field(128, 4), field(64, 4), field(16, 1), field(2, 2)];
    const Q8_K: &[Field] = &[field(4, 4), field(256, 4), field(32, 2)];
    const IQ4_XS: &[Field] = &[field(4, 2), field(4, 1), field(128, 4)];
    match dtype {
        Dtype::Q4_0 | Dtype::IQ4_NL => Q4_0,
        Dtype::Q4_1 => Q4_1,
        Dtype::Q5_0 => Q5_0,
        Dtype::Q5_1 => Q5_1,
        Dtype::Q8_0 => Q8_0,
        Dtype::MXFP4 => MXFP4,
        Dtype::Q2_K => Q2_K,
        Dtype::Q3_K => Q3_K,
        Dtype::Q4_K => Q4_K,
        Dtype::Q5_K => Q5_K,
        Dtype::Q6_K => Q6_K,
        Dtype::Q8_K => Q8_K,
        Dtype::IQ4_XS => IQ4_XS,
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => &[],
    }
}

/// Whether matrices of this type are repacked, and multiply with quantised activations.
pub fn is_quantised(dtype: Dtype) -> bool {
    dtype.block_values() > 1
}

/// Bytes of a row. Shapes were checked when the header was read.
pub fn row_bytes(dtype: Dtype, columns: usize) -> usize {
    assert_eq!(columns % dtype.block_values(), 0, "rows of {} are whole blocks", dtype.name());
    columns / dtype.block_values() * dtype.block_bytes()
}

/// Permutes the bytes of complete 8-row groups in place. `bytes` holds `rows` whole rows, the first
/// of them at a multiple of 8; `scratch` grows to the size of one group and can be used again.
pub fn repack(dtype: Dtype, columns: usize, rows: usize, bytes: &mut [u8], scratch: &mut Vec<u8>) {
    let group_bytes = GROUP_ROWS * row_bytes(dtype, columns);
    assert_eq!(bytes.len(), rows * row_bytes(dtype, columns), "whole rows");
    if !is_quantised(dtype) || group_bytes == 0 {
        return;
    }
    scratch.resize(group_bytes, 0);
    for group in bytes.chunks_exact_mut(group_bytes) {
        scratch.copy_from_slice(group);
        interleave(dtype, scratch, group);
    }
}

/// Writes the 8 rows `rows` to `group` as interleaved blocks.
fn interleave(dtype: Dtype, rows: &[u8], group: &mut [u8]) {
    let (row_bytes, block_bytes) = (rows.len() / GROUP_ROWS, dtype.block_bytes());
    for (block, packed) in group.chunks_exact_mut(GROUP_ROWS * block_bytes).enumerate() {
        let mut start = 0;
        for field in fields(dtype) {
            let packed = &mut packed[GROUP_ROWS * start..GROUP_ROWS * (start + field.bytes)];
            if field.unit == 4 && field.bytes % CHUNK == 0 {
                interleave_chunks(rows, row_bytes, block * block_bytes + start, packed);
                start += field.bytes;
                continue;
            }
            for row in 0..GROUP_ROWS {
                let source = &rows[row * row_bytes + block * block_bytes + start..][..field.bytes];
                match field.unit {
                    1 => scatter::<1>(source, packed, row),
                    2 => scatter::<2>(source, packed, row),
                    _ => scatter::<4>(source, packed, row),
                }
            }
            start += field.bytes;
        }
    }
}

/// Bytes of a row that are interleaved at once: four units of four bytes.
const CHUNK: usize = 16;

/// Interleaves the units of four bytes at `start` of each row, four units a row at a time. Sizes are
/// constants, so that all of it becomes plain loads and stores: most bytes of a model pass here.
fn interleave_chunks(rows: &[u8], row_bytes: usize, start: usize, packed: &mut [u8]) {
    let (chunks, _) = packed.as_chunks_mut::<{ GROUP_ROWS * CHUNK }>();
    for (index, packed) in chunks.iter_mut().enumerate() {
        for row in 0..GROUP_ROWS {
            let source: &[u8; CHUNK] =
                rows[row * row_bytes + start + index * CHUNK..].first_chunk().expect("a whole chunk");
            for unit in 0..CHUNK / 4 {
                let at = (unit * GROUP_ROWS + row) * 4;
                packed[at..at + 4].copy_from_slice(&source[unit * 4..unit * 4 + 4]);
            }
        }
    }
}

fn scatter<const UNIT: usize>(source: &[u8], packed: &mut [u8], row: usize) {
    for (unit, packed) in source.chunks_exact(UNIT).zip(packed.chunks_exact_mut(GROUP_ROWS * UNIT)) {
        packed[row * UNIT..][..UNIT].copy_from_slice(unit);
    }
}

fn gather<const UNIT: usize>(packed: &[u8], row: usize, block: &mut [u8]) {
    for (unit, packed) in block.chunks_exact_mut(UNIT).zip(packed.chunks_exact(GROUP_ROWS * UNIT)) {
        unit.copy_from_slice(&packed[row * UNIT..][..UNIT]);
    }
}

/// Copies block `index` of row `row` to `block`, as it was in the file.
pub fn file_block<'b>(matrix: &Matrix, row: usize, index: usize, block: &'b mut [u8; BLOCK_BYTES_MAX]) -> &'b [u8] {
    let (row_bytes, block_bytes) = (row_bytes(matrix.dtype, matrix.columns), matrix.dtype.block_bytes());
    let block = &mut block[..block_bytes];
    let group = row / GROUP_ROWS;
    if !is_quantised(matrix.dtype) || (group + 1) * GROUP_ROWS > matrix.rows {
        block.copy_from_slice(&matrix.bytes[row * row_bytes + index * block_bytes..][..block_bytes]);
        return block;
    }
    let packed = &matrix.bytes[GROUP_ROWS * (group * row_bytes + index * block_bytes)..][..GROUP_ROWS * block_bytes];
    let mut start = 0;
    for field in fields(matrix.dtype) {
        let packed = &packed[GROUP_ROWS * start..GROUP_ROWS * (start + field.bytes)];
        let block = &mut block[start..start + field.bytes];
        match field.unit {
            1 => gather::<1>(packed, row % GROUP_ROWS, block),
            2 => gather::<2>(packed, row % GROUP_ROWS, block),
            _ => gather::<4>(packed, row % GROUP_ROWS, block),
        }
        start += field.bytes;
    }
    block
}
