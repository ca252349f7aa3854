//! Interleaved Q2_K to Q6_K and Q8_K; the layouts of the file are in `quant::formats`, and the order that quants
//! of six bits are brought into is that of `six_bits`.

#![allow(non_camel_case_types)]

use super::integers::Weights;
use super::tile::{Format, GroupMinimums, GroupScales, IntegerScales, PairMinimums, PairScales, Phases};
use super::unpack::*;
use crate::arch::*;
use crate::quant::Dtype;
use std::array::from_fn;

pub struct Q2_K;

impl Format for Q2_K {
    const DTYPE: Dtype = Dtype::Q2_K;
    const SECTIONS: usize = 2;
    const PHASES: usize = 4;
    const PAIRED: bool = false;
    type Shape = GroupMinimums;

    fn constants() -> [v128; 4] {
        [u8x16_splat(3); 4]
    }

    #[inline(always)]
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        // SAFETY: the unit lies within the block.
        crumbs(k.own[0], unsafe { load(block, 16, 8 * section + 4 * group, unit, half) }).map(|q| Weights::small(k, q))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 80, half) }
    }

    #[inline(always)]
    unsafe fn minimum(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: as before.
        unsafe { halves(k, block, 82, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        for index in 0..8 {
            // SAFETY: the field has 16 bytes a row.
            let bytes = unsafe { load_bytes(block, 0, index) };
            widen(nibbles::<0>(nibble_mask(), bytes), &mut scales.scales, index);
            widen(nibbles::<1>(nibble_mask(), bytes), &mut scales.minimums, index);
        }
    }
}

pub struct Q3_K;

impl Format for Q3_K {
    const DTYPE: Dtype = Dtype::Q3_K;
    const SECTIONS: usize = 2;
    const PHASES: usize = 4;
    const PAIRED: bool = false;
    const ZERO: i16 = 4;
    type Shape = GroupScales;

    fn constants() -> [v128; 4] {
        [u8x16_splat(3), u8x16_splat(4), u8x16_splat(0), u8x16_splat(0)]
    }

    #[inline(always)]
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        // SAFETY: both units lie within the block.
        let (high, low) =
            unsafe { (load(block, 0, 4 * group, unit, half), load(block, 32, 8 * section + 4 * group, unit, half)) };
        // Bit `4 · section + phase` becomes the third.
        let high = u16x8_shr(high, 4 * section as u32);
        let high = [u16x8_shl(high, 2), u16x8_shl(high, 1), high, u16x8_shr(high, 1)];
        let low = crumbs(k.own[0], low);
        from_fn(|phase| Weights::small(k, v128_or(low[phase], v128_and(high[phase], k.own[1]))))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 108, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        // SAFETY: the field has 12 bytes a row.
        let bytes: [v128; 6] = std::array::from_fn(|index| unsafe { load_bytes(block, 96, index) });
        let mut put = |index: usize, lower: v128, upper: v128| {
            let scale = v128_or(lower, u16x8_shl(mask(upper, 3), 4));
            widen(i8x16_sub(scale, i8x16_splat(32)), &mut scales.scales, index);
        };
        for index in 0..2 {
            let upper = bytes[4 + index];
            put(index, nibbles::<0>(nibble_mask(), bytes[index]), upper);
            put(index + 2, nibbles::<0>(nibble_mask(), bytes[index + 2]), u16x8_shr(upper, 2));
            put(index + 4, nibbles::<1>(nibble_mask(), bytes[index]), u16x8_shr(upper, 4));
            put(index + 6, nibbles::<1>(nibble_mask(), bytes[index + 2]), u16x8_shr(upper, 6));
        }
    }
}

pub struct Q4_K;

impl Format for Q4_K {
    const DTYPE: Dtype = Dtype::Q4_K;
    const SECTIONS: usize = 4;
    const PAIRED: bool = false;
    type Shape = PairMinimums;

    #[inline(always)]
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        // SAFETY: the unit lies within the block.
        let bytes = unsafe { load(block, 16, 8 * section + 4 * group, unit, half) };
        two(both_nibbles(k.own[0], bytes).map(|q| Weights::small(k, q)))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 0, half) }
    }

    #[inline(always)]
    unsafe fn minimum(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: as before.
        unsafe { halves(k, block, 2, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        // SAFETY: the block begins as one of Q4_K does.
        unsafe { scales_and_minimums(block, scales) }
    }
}

pub struct Q5_K;

impl Format for Q5_K {
    const DTYPE: Dtype = Dtype::Q5_K;
    const SECTIONS: usize = 4;
    const PAIRED: bool = false;
    type Shape = PairMinimums;

    fn constants() -> [v128; 4] {
        [nibble_mask(), u8x16_splat(16), u8x16_splat(0), u8x16_splat(0)]
    }

    #[inline(always)]
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        // SAFETY: both units lie within the block.
        let (high, low) =
            unsafe { (load(block, 16, 4 * group, unit, half), load(block, 48, 8 * section + 4 * group, unit, half)) };
        // Bit `2 · section + phase` becomes the fifth.
        let high = u16x8_shr(high, 2 * section as u32);
        let high = [u16x8_shl(high, 4), u16x8_shl(high, 3)];
        let low = both_nibbles(k.own[0], low);
        two([0, 1].map(|phase| Weights::small(k, v128_or(low[phase], v128_and(high[phase], k.own[1])))))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 0, half) }
    }

    #[inline(always)]
    unsafe fn minimum(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: as before.
        unsafe { halves(k, block, 2, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        // SAFETY: the block begins as one of Q4_K does.
        unsafe { scales_and_minimums(block, scales) }
    }
}

pub struct Q6_K;

impl Format for Q6_K {
    const DTYPE: Dtype = Dtype::Q6_K;
    const SECTIONS: usize = 8;
    const PHASES: usize = 1;
    const PAIRED: bool = false;
    const ZERO: i16 = 32;
    type Shape = GroupScales;

    fn constants() -> [v128; 4] {
        [u8x16_splat(63), u8x16_splat(3), u8x16_splat(12), u8x16_splat(48)]
    }

    #[inline(always)]
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        let first = 3 * (2 * section + group);
        // SAFETY: all units lie within the block.
        let packed = |unit| unsafe { load(block, 0, first, unit, half) };
        if unit < 3 {
            return [Weights::small(k, v128_and(packed(unit), k.own[0])); 4];
        }
        let low = v128_and(u16x8_shr(packed(0), 6), k.own[1]);
        let middle = v128_and(u16x8_shr(packed(1), 4), k.own[2]);
        let high = v128_and(u16x8_shr(packed(2), 2), k.own[3]);
        [Weights::small(k, v128_or(v128_or(low, middle), high)); 4]
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 208, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        for index in 0..8 {
            // SAFETY: the field has 16 bytes a row.
            widen(unsafe { load_bytes(block, 192, index) }, &mut scales.scales, index);
        }
    }
}

pub struct Q8_K;

impl Format for Q8_K {
    const DTYPE: Dtype = Dtype::Q8_K;
    type Shape = PairScales;
    const SECTIONS: usize = 8;
    const PHASES: usize = 1;
    const PAIRED: bool = false;

    #[inline(always)]
    unsafe fn weights(
        _: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases {
        // SAFETY: the unit lies within the block.
        [Weights::signed(unsafe { load(block, 4, 8 * section + 4 * group, unit, half) }); 4]
    }

    #[inline(always)]
    unsafe fn scale(_: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { load(block, 0, 0, 0, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(_: *const u8, scales: &mut IntegerScales) {
        scales.scales = [i16x8_splat(1); 16];
    }
}

/// The two-bit values of each byte.
#[inline(always)]
fn crumbs(mask: v128, bytes: v128) -> [v128; 4] {
    [bytes, u16x8_shr(bytes, 2), u16x8_shr(bytes, 4), u16x8_shr(bytes, 6)].map(|shifted| v128_and(shifted, mask))
}

/// The six-bit scales and minimums of Q4_K and Q5_K.
///
/// # Safety
/// `block` points to an interleaved block of either.
#[inline(always)]
unsafe fn scales_and_minimums(block: *const u8, scales: &mut IntegerScales) {
    for index in 0..2 {
        // SAFETY: the field has 12 bytes a row, of which these are two, two and two.
        let [scale, minimum, low] = [0, 2, 4].map(|first| unsafe { load_bytes(block, 4, first + index) });
        let upper = |bytes| mask(u16x8_shr(bytes, 2), 0x30);
        widen(mask(scale, 63), &mut scales.scales, index);
        widen(v128_or(nibbles::<0>(nibble_mask(), low), upper(scale)), &mut scales.scales, index + 2);
        widen(mask(minimum, 63), &mut scales.minimums, index);
        widen(v128_or(nibbles::<1>(nibble_mask(), low), upper(minimum)), &mut scales.minimums, index + 2);
    }
}
