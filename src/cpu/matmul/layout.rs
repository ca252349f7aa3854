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
const fn fields(dtype: Dtype) -> &'static [Field] {
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

/// Bytes that are repacked together: 8 rows of a quantised type.
pub fn repack_unit(dtype: Dtype, columns: usize) -> usize {
    (GROUP_ROWS * row_bytes(dtype, columns)).max(1)
}

/// Permutes the bytes of complete 8-row groups in place; what follows the last one stays as it is.
/// `bytes` begins with a row whose number is a multiple of 8; `scratch` grows to the size of one group
/// and can be used again.
pub fn repack(dtype: Dtype, columns: usize, bytes: &mut [u8], scratch: &mut Vec<u8>) {
    if !is_quantised(dtype) {
        return;
    }
    let group_bytes = repack_unit(dtype, columns);
    scratch.resize(scratch.len().max(group_bytes), 0);
    for group in bytes.chunks_exact_mut(group_bytes) {
        scratch[..group_bytes].copy_from_slice(group);
        interleave(dtype, columns, &scratch[..group_bytes], group);
    }
}

/// Writes `rows`, whole groups of 8 rows of a quantised type as they are in the file, to `packed` as
/// interleaved blocks.
pub fn interleave(dtype: Dtype, columns: usize, rows: &[u8], packed: &mut [u8]) {
    let group_bytes = repack_unit(dtype, columns);
    assert!(rows.len() == packed.len() && rows.len() % group_bytes == 0, "whole groups");
    for (rows, packed) in rows.chunks_exact(group_bytes).zip(packed.chunks_exact_mut(group_bytes)) {
        macro_rules! by_type {
            ($($name:ident)*) => {
                match dtype {
                    $(Dtype::$name => interleave_group(const { fields(Dtype::$name) }, dtype.block_bytes(), rows, packed),)*
                    Dtype::F32 | Dtype::F16 | Dtype::BF16 => unreachable!("floats are not repacked"),
                }
            };
        }
        by_type!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ4_NL IQ4_XS MXFP4);
    }
}

/// One group. Inlined with the fields of each type, so that all of it becomes plain loads and stores:
/// every byte of a model passes here.
#[inline(always)]
fn interleave_group(fields: &[Field], block_bytes: usize, rows: &[u8], packed: &mut [u8]) {
    let row_bytes = rows.len() / GROUP_ROWS;
    assert!(packed.len() == GROUP_ROWS * row_bytes && row_bytes % block_bytes == 0, "8 rows of whole blocks");
    for block in (0..row_bytes).step_by(block_bytes) {
        let mut start = block;
        for field in fields {
            // SAFETY: the field lies within the block, that in each of 8 rows, and its places in `packed`,
            // which is as long, begin where those of all fields before it end.
            unsafe {
                let source = rows.as_ptr().add(start);
                let target = packed.as_mut_ptr().add(GROUP_ROWS * start);
                match field.unit {
                    1 => scatter::<1>(source, row_bytes, field.bytes, target),
                    2 => scatter::<2>(source, row_bytes, field.bytes, target),
                    _ if field.bytes % CHUNK == 0 => scatter_chunks(source, row_bytes, field.bytes, target),
                    _ => scatter::<4>(source, row_bytes, field.bytes, target),
                }
            }
            start += field.bytes;
        }
    }
}

/// Moves unit u of row r to place 8 u + r.
///
/// # Safety
/// Eight rows, `row_bytes` apart, have `bytes` bytes from `source` on, and `target` has room for all.
#[inline(always)]
unsafe fn scatter<const UNIT: usize>(source: *const u8, row_bytes: usize, bytes: usize, target: *mut u8) {
    for unit in 0..bytes / UNIT {
        for row in 0..GROUP_ROWS {
            // SAFETY: by the caller's promise.
            unsafe {
                let from = source.add(row * row_bytes + unit * UNIT);
                from.copy_to_nonoverlapping(target.add((unit * GROUP_ROWS + row) * UNIT), UNIT);
            }
        }
    }
}

/// Bytes of a row that are moved at once: four units of four bytes.
const CHUNK: usize = 16;

/// As [`scatter`] for units of four bytes, four of them at a time.
///
/// # Safety
/// As for [`scatter`].
#[cfg(not(target_family = "wasm"))]
#[inline(always)]
unsafe fn scatter_chunks(source: *const u8, row_bytes: usize, bytes: usize, target: *mut u8) {
    // SAFETY: by the caller's promise.
    unsafe { scatter::<4>(source, row_bytes, bytes, target) };
}

/// As [`scatter`] for units of four bytes: four rows' vectors of four units change places.
///
/// # Safety
/// As for [`scatter`].
#[cfg(target_family = "wasm")]
#[inline(always)]
unsafe fn scatter_chunks(source: *const u8, row_bytes: usize, bytes: usize, target: *mut u8) {
    use crate::cpu::arch::*;
    for chunk in (0..bytes).step_by(CHUNK) {
        for half in 0..2 {
            // SAFETY: by the caller's promise.
            let load = |row: usize| unsafe { v128_load(source.add((4 * half + row) * row_bytes + chunk).cast()) };
            let [a, b, c, d] = std::array::from_fn(load);
            let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
            let (ef, gh) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
            let units = [
                i64x2_shuffle::<0, 2>(ab, cd),
                i64x2_shuffle::<1, 3>(ab, cd),
                i64x2_shuffle::<0, 2>(ef, gh),
                i64x2_shuffle::<1, 3>(ef, gh),
            ];
            for (unit, rows) in units.into_iter().enumerate() {
                // SAFETY: by the caller's promise.
                unsafe { v128_store(target.add(GROUP_ROWS * chunk + 32 * unit + 16 * half).cast(), rows) };
            }
        }
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
