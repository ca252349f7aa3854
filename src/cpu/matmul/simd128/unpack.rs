//! What the formats' unpacking is made of. A field that begins at byte `b` of a file's block begins at
//! byte `8 b` of an interleaved one.

use super::tile::Rows;
use crate::cpu::arch::*;

/// Four bytes of four rows: unit `unit` of the field that begins at byte `field`.
///
/// # Safety
/// They lie within the block.
#[inline(always)]
pub unsafe fn load(block: *const u8, field: usize, unit: usize, half: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load(block.add(8 * field + 32 * unit + 16 * half).cast()) }
}

/// Bytes `2 · index` and `2 · index + 1` of a field of single bytes, each of 8 rows.
///
/// # Safety
/// They lie within the block.
#[inline(always)]
pub unsafe fn load_bytes(block: *const u8, field: usize, index: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load(block.add(8 * field + 16 * index).cast()) }
}

/// The f16 numbers of four rows at byte `field`, as f32.
///
/// # Safety
/// They lie within the block.
#[inline(always)]
pub unsafe fn halves(block: *const u8, field: usize, half: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { crate::cpu::vector::load_f16(block.add(8 * field + 8 * half).cast()) }
}

#[inline(always)]
pub fn mask(weights: v128, bits: u8) -> v128 {
    v128_and(weights, u8x16_splat(bits))
}

/// The low nibbles, or the high ones.
#[inline(always)]
pub fn nibbles<const HIGH: usize>(bytes: v128) -> v128 {
    if HIGH == 1 { mask(u16x8_shr(bytes, 4), 15) } else { mask(bytes, 15) }
}

/// `value` in the bytes that have all bits of `bits`.
#[inline(always)]
pub fn where_set(bytes: v128, bits: v128, value: u8) -> v128 {
    mask(i8x16_eq(v128_and(bytes, bits), bits), value)
}

/// 16 unsigned bytes to f32: the first 8 rows to place `2 · index`, the next to the place after it.
#[inline(always)]
pub fn widen_minimums(bytes: v128, table: &mut [Rows; 16], index: usize) {
    table[2 * index] = floats(u16x8_extend_low_u8x16(bytes));
    table[2 * index + 1] = floats(u16x8_extend_high_u8x16(bytes));
}

#[inline(always)]
fn floats(words: v128) -> Rows {
    [f32x4_convert_i32x4(i32x4_extend_low_i16x8(words)), f32x4_convert_i32x4(i32x4_extend_high_i16x8(words))]
}

/// 16 signed bytes to integer scales, in places as [`widen_minimums`] has them.
#[inline(always)]
pub fn widen_scales(bytes: v128, table: &mut [Rows; 16], index: usize) {
    table[2 * index] = twice(i16x8_extend_low_i8x16(bytes));
    table[2 * index + 1] = twice(i16x8_extend_high_i8x16(bytes));
}

/// Each of 8 rows' words twice.
#[inline(always)]
pub fn twice(words: v128) -> Rows {
    [i16x8_shuffle::<0, 0, 1, 1, 2, 2, 3, 3>(words, words), i16x8_shuffle::<4, 4, 5, 5, 6, 6, 7, 7>(words, words)]
}
