//! How weights lie in memory. Quantised matrices are repacked once, in place, so that a vector load
//! takes the same field of several rows: each group of 8 consecutive rows becomes a run of interleaved
//! blocks, and in an interleaved block every unit (2 bytes of a scale, 4 bytes of quants) of the file's
//! block is followed by the same unit of the next row. Sixteen bytes of quants are 4 rows × 4 bytes.
//! Rows after the last whole group, and matrices of floats, stay as they are in the file.

use super::{Matrix, six_bits};
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

/// Writes the fields of each type's blocks as a list for the code that reads blocks, and as straight code
/// for the one that interleaves them.
macro_rules! layouts {
    ($($($name:ident)|+ => [$(($bytes:literal, $unit:literal)),+],)+) => {
        /// The fields of a block in the order of the file.
        fn fields(dtype: Dtype) -> &'static [Field] {
            match dtype {
                $($(Dtype::$name)|+ => &[$(Field { bytes: $bytes, unit: $unit }),+],)+
                Dtype::F32 | Dtype::F16 | Dtype::BF16 => &[],
            }
        }

        /// Writes `rows`, whole groups of 8 rows of a quantised type as they are in the file, to `packed` as
        /// interleaved blocks.
        pub fn interleave(dtype: Dtype, columns: usize, rows: &[u8], packed: &mut [u8]) {
            match dtype {
                $($(Dtype::$name)|+ => interleave_blocks(dtype, columns, rows, packed, |source, row_bytes, target| {
                    let mut start = 0;
                    $(
                        // SAFETY: the fields follow one another in the block, as their places do in `target`.
                        unsafe { scatter::<$bytes, $unit>(source.add(start), row_bytes, target.add(GROUP_ROWS * start)) };
                        start += $bytes;
                    )+
                    debug_assert_eq!(start, dtype.block_bytes());
                }),)+
                Dtype::F32 | Dtype::F16 | Dtype::BF16 => unreachable!("floats are not repacked"),
            }
        }
    };
}

// Units are as the kernels read them: 1 byte for integer scales, 2 for f16, 4 for quants. A unit of 6 stands for
// the quants of six bits, which are also brought into the order of `six_bits`.
layouts! {
    Q4_0 | IQ4_NL => [(2, 2), (16, 4)],
    Q4_1 => [(4, 2), (16, 4)],
    Q5_0 => [(2, 2), (4, 4), (16, 4)],
    Q5_1 => [(4, 2), (4, 4), (16, 4)],
    Q8_0 => [(2, 2), (32, 4)],
    MXFP4 => [(1, 1), (16, 4)],
    Q2_K => [(16, 1), (64, 4), (4, 2)],
    Q3_K => [(32, 4), (64, 4), (12, 1), (2, 2)],
    Q4_K => [(4, 2), (12, 1), (128, 4)],
    Q5_K => [(4, 2), (12, 1), (32, 4), (128, 4)],
    Q6_K => [(192, 6), (16, 1), (2, 2)],
    Q8_K => [(4, 4), (256, 4), (32, 2)],
    IQ4_XS => [(4, 2), (4, 1), (128, 4)],
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

/// Calls `block(source, row_bytes, target)` for each block of 8 rows: `source` is that of the first row,
/// the others follow `row_bytes` apart, and `target` has room for all. Inlined, so that the sizes of every
/// type are constants: each byte of a model passes here.
#[inline(always)]
fn interleave_blocks(
    dtype: Dtype,
    columns: usize,
    rows: &[u8],
    packed: &mut [u8],
    block: impl Fn(*const u8, usize, *mut u8),
) {
    let (row_bytes, block_bytes) = (row_bytes(dtype, columns), dtype.block_bytes());
    let group_bytes = GROUP_ROWS * row_bytes;
    assert!(rows.len() == packed.len() && rows.len().is_multiple_of(group_bytes.max(1)), "whole groups");
    for group in (0..rows.len()).step_by(group_bytes.max(1)) {
        for start in (0..row_bytes).step_by(block_bytes) {
            // SAFETY: the block lies within its row and the row within the group; the interleaved block
            // takes the bytes of 8 blocks, after those before it.
            unsafe {
                let source = rows.as_ptr().add(group + start);
                block(source, row_bytes, packed.as_mut_ptr().add(group + GROUP_ROWS * start));
            }
        }
    }
}

/// Moves unit u of a field of `BYTES` bytes in row r to place 8 u + r.
///
/// # Safety
/// Eight rows, `row_bytes` apart, have the field at `source`, and `target` has room for all.
#[inline(always)]
unsafe fn scatter<const BYTES: usize, const UNIT: usize>(source: *const u8, row_bytes: usize, target: *mut u8) {
    #[cfg(target_family = "wasm")]
    if UNIT == 4 && BYTES.is_multiple_of(CHUNK) {
        // SAFETY: by the caller's promise.
        return unsafe { scatter_chunks::<BYTES>(source, row_bytes, target) };
    }
    if UNIT == 6 {
        // SAFETY: by the caller's promise.
        return unsafe { scatter_six(source, row_bytes, target) };
    }
    for unit in 0..BYTES / UNIT {
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
#[cfg(target_family = "wasm")]
const CHUNK: usize = 16;

/// As [`scatter`] for units of four bytes: four rows' vectors of four units change places.
///
/// # Safety
/// As for [`scatter`].
#[cfg(target_family = "wasm")]
#[inline(always)]
unsafe fn scatter_chunks<const BYTES: usize>(source: *const u8, row_bytes: usize, target: *mut u8) {
    use crate::cpu::arch::*;
    for chunk in (0..BYTES).step_by(CHUNK) {
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

/// As [`scatter`] for the quants of Q6_K.
///
/// # Safety
/// As for [`scatter`].
unsafe fn scatter_six(source: *const u8, row_bytes: usize, target: *mut u8) {
    for row in 0..GROUP_ROWS {
        // SAFETY: by the caller's promise; these words lie at any address.
        unsafe {
            let words = |at: usize| source.add(row * row_bytes + 4 * at).cast::<u32>().read_unaligned();
            let put = |at: usize, word: u32| {
                target.add((at * GROUP_ROWS + row) * 4).cast::<u32>().write_unaligned(word);
            };
            six_bits::pack(words, put);
        }
    }
}

/// The inverse for one row.
fn gather_six(packed: &[u8], row: usize, block: &mut [u8]) {
    let (packed, block) = (packed.as_chunks::<4>().0, block.as_chunks_mut::<4>().0);
    let words = |at: usize| u32::from_ne_bytes(packed[at * GROUP_ROWS + row]);
    six_bits::unpack(words, |at, word| block[at] = word.to_ne_bytes());
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
            4 => gather::<4>(packed, row % GROUP_ROWS, block),
            _ => gather_six(packed, row % GROUP_ROWS, block),
        }
        start += field.bytes;
    }
    block
}
