//! Interleaved Q2_K to Q6_K and Q8_K; the layouts of the file are in `quant::k_quants`.

#![allow(non_camel_case_types)]

use super::integers::Weights;
use super::tile::{Format, IntegerScales, Scaled};
use super::unpack::*;
use crate::cpu::arch::*;
use crate::quant::Dtype;

pub struct Q2_K;

impl Format for Q2_K {
    const DTYPE: Dtype = Dtype::Q2_K;
    const SECTIONS: usize = 2;
    const PHASES: usize = 4;
    const SCALED: Scaled = Scaled::Group;
    const MINIMUMS: bool = true;

    fn constants() -> [v128; 4] {
        [u8x16_splat(3); 4]
    }

    #[inline(always)]
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: the unit lies within the block.
        Weights::small(k, crumbs::<PHASE>(k.own[0], unsafe { load(block, 16, 8 * section, 4 * GROUP + unit, half) }))
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
            widen_scales(nibbles::<0>(nibble_mask(), bytes), &mut scales.scales, index);
            widen_minimums(nibbles::<1>(nibble_mask(), bytes), &mut scales.minimums, index);
        }
    }
}

pub struct Q3_K;

impl Format for Q3_K {
    const DTYPE: Dtype = Dtype::Q3_K;
    const SECTIONS: usize = 2;
    const PHASES: usize = 4;
    const ZERO: i16 = 4;
    const SCALED: Scaled = Scaled::Group;

    fn constants() -> [v128; 4] {
        [u8x16_splat(3), u8x16_splat(4), u8x16_splat(0), u8x16_splat(0)]
    }

    #[inline(always)]
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: both units lie within the block.
        let (high, low) = unsafe {
            (load(block, 0, 0, 4 * GROUP + unit, half), load(block, 32, 8 * section, 4 * GROUP + unit, half))
        };
        let bit = u8x16_splat(1 << (4 * section + PHASE));
        Weights::small(k, v128_or(crumbs::<PHASE>(k.own[0], low), where_set(high, bit, k.own[1])))
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
            widen_scales(i8x16_sub(scale, i8x16_splat(32)), &mut scales.scales, index);
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
    const PHASES: usize = 2;
    const SCALED: Scaled = Scaled::Pair;
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: the unit lies within the block.
        Weights::small(k, nibbles::<PHASE>(k.own[0], unsafe { load(block, 16, 8 * section, 4 * GROUP + unit, half) }))
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
    const PHASES: usize = 2;
    const SCALED: Scaled = Scaled::Pair;
    const MINIMUMS: bool = true;

    fn constants() -> [v128; 4] {
        [nibble_mask(), u8x16_splat(16), u8x16_splat(0), u8x16_splat(0)]
    }

    #[inline(always)]
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: both units lie within the block.
        let (high, low) = unsafe {
            (load(block, 16, 0, 4 * GROUP + unit, half), load(block, 48, 8 * section, 4 * GROUP + unit, half))
        };
        let bit = u8x16_splat(1 << (2 * section + PHASE));
        Weights::small(k, v128_or(nibbles::<PHASE>(k.own[0], low), where_set(high, bit, k.own[1])))
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
    const SECTIONS: usize = 2;
    const PHASES: usize = 4;
    const ZERO: i16 = 32;
    const SCALED: Scaled = Scaled::Group;

    fn constants() -> [v128; 4] {
        [nibble_mask(), u8x16_splat(0x30), u8x16_splat(0), u8x16_splat(0)]
    }

    #[inline(always)]
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        let unit = 4 * GROUP + unit;
        // SAFETY: both units lie within the block.
        let (low, high) = unsafe {
            (load(block, 0, 16 * section, 8 * (PHASE % 2) + unit, half), load(block, 128, 8 * section, unit, half))
        };
        let low = if PHASE < 2 { nibbles::<0>(k.own[0], low) } else { nibbles::<1>(k.own[0], low) };
        let high = match PHASE {
            0 => u16x8_shl(high, 4),
            1 => u16x8_shl(high, 2),
            2 => high,
            _ => u16x8_shr(high, 2),
        };
        Weights::small(k, v128_or(low, v128_and(high, k.own[1])))
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
            widen_scales(unsafe { load_bytes(block, 192, index) }, &mut scales.scales, index);
        }
    }
}

pub struct Q8_K;

impl Format for Q8_K {
    const DTYPE: Dtype = Dtype::Q8_K;
    const SECTIONS: usize = 8;
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn weights<const P: usize, const GROUP: usize>(
        _: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: the unit lies within the block.
        Weights::signed(unsafe { load(block, 4, 8 * section, 4 * GROUP + unit, half) })
    }

    #[inline(always)]
    unsafe fn scale(_: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { load(block, 0, 0, 0, half) }
    }
}

/// Two-bit values.
#[inline(always)]
fn crumbs<const PHASE: usize>(mask: v128, bytes: v128) -> v128 {
    v128_and(if PHASE == 0 { bytes } else { u16x8_shr(bytes, 2 * PHASE as u32) }, mask)
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
        widen_scales(mask(scale, 63), &mut scales.scales, index);
        widen_scales(v128_or(nibbles::<0>(nibble_mask(), low), upper(scale)), &mut scales.scales, index + 2);
        widen_minimums(mask(minimum, 63), &mut scales.minimums, index);
        widen_minimums(v128_or(nibbles::<1>(nibble_mask(), low), upper(minimum)), &mut scales.minimums, index + 2);
    }
}
