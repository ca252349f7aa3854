//! What the formats' unpacking is made of. A field that begins at byte `b` of a file's block begins at
//! byte `8 b` of an interleaved one.

use super::integers::Weights;
use super::tile::{Phases, Rows, at_byte};
use crate::arch::*;
use crate::vector::{half_constants, load_f16};
use std::hint::black_box;

/// Constants of a tile. They are hidden from the compiler, which would build them anew in every turn of
/// the loop, and engines do not move that out: here they stay in registers.
#[derive(Clone, Copy)]
pub struct Constants {
    /// Those of the format.
    pub own: [v128; 4],
    /// The low bytes of words.
    pub even: v128,
    /// For [`load_f16`].
    half: [v128; 3],
}

impl Constants {
    #[inline(always)]
    pub fn new(own: [v128; 4]) -> Self {
        black_box(Constants { own, even: u16x8_splat(0xff), half: half_constants() })
    }
}

/// Four bytes of four rows: unit `first + unit` of the field that begins at byte `field`. What depends
/// on a loop belongs into `first`: see [`at_byte`].
///
/// # Safety
/// They lie within the block.
#[inline(always)]
pub unsafe fn load(block: *const u8, field: usize, first: usize, unit: usize, half: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load(at_byte(block, 32 * first).add(8 * field + 32 * unit + 16 * half).cast()) }
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
pub unsafe fn halves(k: &Constants, block: *const u8, field: usize, half: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { load_f16(block.add(8 * field + 8 * half).cast(), k.half) }
}

#[inline(always)]
pub fn mask(bytes: v128, bits: u8) -> v128 {
    v128_and(bytes, u8x16_splat(bits))
}

/// The nibbles' mask, first of a format's own constants where it has nibbles.
#[inline(always)]
pub fn nibble_mask() -> v128 {
    u8x16_splat(15)
}

/// The low nibbles, or the high ones.
#[inline(always)]
pub fn nibbles<const HIGH: usize>(mask: v128, bytes: v128) -> v128 {
    v128_and(if HIGH == 1 { u16x8_shr(bytes, 4) } else { bytes }, mask)
}

/// The low nibbles, and the high ones.
#[inline(always)]
pub fn both_nibbles(mask: v128, bytes: v128) -> [v128; 2] {
    [nibbles::<0>(mask, bytes), nibbles::<1>(mask, bytes)]
}

/// The weights of a format of two phases.
#[inline(always)]
pub fn two([first, second]: [Weights; 2]) -> Phases {
    [first, second, first, second]
}

/// `value` in the bytes that have all bits of `bits`.
#[inline(always)]
pub fn where_set(bytes: v128, bits: v128, value: v128) -> v128 {
    v128_and(i8x16_eq(v128_and(bytes, bits), bits), value)
}

/// The table's value at each nibble.
#[inline(always)]
pub fn table(values: [i8; 16]) -> v128 {
    // SAFETY: both are 16 bytes without invalid values.
    unsafe { std::mem::transmute(values) }
}

/// Eight words each as f32.
#[inline(always)]
pub fn floats(words: v128) -> Rows {
    [f32x4_convert_i32x4(i32x4_extend_low_i16x8(words)), f32x4_convert_i32x4(i32x4_extend_high_i16x8(words))]
}

/// 16 signed bytes as words: the first 8 rows to place `2 · index`, the next to the place after it.
#[inline(always)]
pub fn widen(bytes: v128, table: &mut [v128; 16], index: usize) {
    table[2 * index] = i16x8_extend_low_i8x16(bytes);
    table[2 * index + 1] = i16x8_extend_high_i8x16(bytes);
}
