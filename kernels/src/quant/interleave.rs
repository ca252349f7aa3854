//! How rows alternate in memory. A vector load takes the same field of several rows: each group of 8 consecutive rows
//! becomes a run of interleaved blocks, and in an interleaved block every unit (2 bytes of a scale, 4 bytes of quants) of
//! the file's block is followed by the same unit of the next row. Sixteen bytes of quants are 4 rows × 4 bytes.

use super::six_bits;

/// Rows that are interleaved.
pub const GROUP_ROWS: usize = 8;

/// A field of a block: its length and the unit in which rows alternate, in bytes.
pub struct Field {
    /// Bytes of the field in one block.
    pub bytes: usize,
    /// 1 byte for integer scales, 2 for f16, 4 for quants. A unit of 6 stands for the quants of six bits, which are also
    /// brought into the order of `six_bits`.
    pub unit: usize,
}

/// How the blocks of eight rows lie between one another.
pub struct Interleaving {
    /// The fields of a block in the order of the file.
    fields: &'static [Field],
    /// Writes whole groups of 8 rows of so many bytes each, as they are in the file, to `packed` as interleaved blocks:
    /// `(row_bytes, rows, packed)`.
    pub interleave: fn(usize, &[u8], &mut [u8]),
}

/// An [`Interleaving`] from a list of `(bytes, unit)`: the list for the code that reads blocks, and straight code for the
/// one that interleaves them.
macro_rules! interleaving {
    ($(($bytes:literal, $unit:literal)),+) => {
        $crate::quant::interleave::Interleaving::new(
            &[$($crate::quant::interleave::Field { bytes: $bytes, unit: $unit }),+],
            |row_bytes, rows, packed| {
                use $crate::quant::interleave::{GROUP_ROWS, interleave_blocks, scatter};
                const BLOCK_BYTES: usize = 0 $(+ $bytes)+;
                interleave_blocks(BLOCK_BYTES, row_bytes, rows, packed, |source, row_bytes, target| {
                    let mut start = 0;
                    $(
                        // SAFETY: the fields follow one another in the block, as their places do in `target`.
                        unsafe { scatter::<$bytes, $unit>(source.add(start), row_bytes, target.add(GROUP_ROWS * start)) };
                        start += $bytes;
                    )+
                    debug_assert_eq!(start, BLOCK_BYTES);
                });
            },
        )
    };
}
pub(super) use interleaving;

impl Interleaving {
    /// What [`interleaving`] makes.
    pub(super) const fn new(fields: &'static [Field], interleave: fn(usize, &[u8], &mut [u8])) -> Self {
        Interleaving { fields, interleave }
    }

    /// Copies the block of row `row` of 8 from an interleaved block to `block`, as it was in the file.
    pub fn gather(&self, packed: &[u8], row: usize, block: &mut [u8]) {
        let mut start = 0;
        for field in self.fields {
            let packed = &packed[GROUP_ROWS * start..GROUP_ROWS * (start + field.bytes)];
            let block = &mut block[start..start + field.bytes];
            match field.unit {
                1 => gather::<1>(packed, row, block),
                2 => gather::<2>(packed, row, block),
                4 => gather::<4>(packed, row, block),
                _ => gather_six(packed, row, block),
            }
            start += field.bytes;
        }
    }
}

/// Calls `block(source, row_bytes, target)` for each block of 8 rows: `source` is that of the first row,
/// the others follow `row_bytes` apart, and `target` has room for all. Inlined, so that the sizes of every
/// format are constants: each byte of a model passes here.
#[inline(always)]
pub(super) fn interleave_blocks(
    block_bytes: usize,
    row_bytes: usize,
    rows: &[u8],
    packed: &mut [u8],
    block: impl Fn(*const u8, usize, *mut u8),
) {
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
pub(super) unsafe fn scatter<const BYTES: usize, const UNIT: usize>(
    source: *const u8,
    row_bytes: usize,
    target: *mut u8,
) {
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
    use crate::arch::*;
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
