//! Interleaved IQ4_NL, IQ4_XS and MXFP4; the layouts of the file are in `quant::formats`.

#![allow(non_camel_case_types)]

use super::integers::{HIGH_ZERO, Weights, swizzle};
use super::tile::{Format, IntegerScales, PairScales, Phases, Plain};
use super::unpack::*;
use crate::arch::*;
use crate::quant::{Dtype, IQ4_VALUES, MXFP4_VALUES};

/// The mask of nibbles, the table of IQ4_NL and IQ4_XS, and the tables of its low and high nibbles.
fn iq4_tables() -> [v128; 4] {
    let (low, high) = (IQ4_VALUES.map(|value| value & 15), IQ4_VALUES.map(|value| (value >> 4) + HIGH_ZERO as i8));
    [nibble_mask(), table(IQ4_VALUES), table(low), table(high)]
}

pub struct IQ4_NL;

impl Format for IQ4_NL {
    const DTYPE: Dtype = Dtype::IQ4_NL;
    type Shape = Plain;

    fn constants() -> [v128; 4] {
        iq4_tables()
    }

    #[inline(always)]
    unsafe fn weights(k: &Constants, block: *const u8, _: usize, _: usize, half: usize, unit: usize) -> Phases {
        // SAFETY: the unit lies within the block.
        let nibbles = both_nibbles(k.own[0], unsafe { load(block, 2, 0, unit, half) });
        two(nibbles.map(|q| Weights::look_up([k.own[1], k.own[2], k.own[3]], q)))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 0, half) }
    }
}

pub struct IQ4_XS;

impl Format for IQ4_XS {
    const DTYPE: Dtype = Dtype::IQ4_XS;
    const SECTIONS: usize = 8;
    type Shape = PairScales;

    fn constants() -> [v128; 4] {
        iq4_tables()
    }

    #[inline(always)]
    unsafe fn weights(k: &Constants, block: *const u8, section: usize, _: usize, half: usize, unit: usize) -> Phases {
        // SAFETY: the unit lies within the block.
        let nibbles = both_nibbles(k.own[0], unsafe { load(block, 8, 4 * section, unit, half) });
        two(nibbles.map(|q| Weights::look_up([k.own[1], k.own[2], k.own[3]], q)))
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 0, half) }
    }

    #[inline(always)]
    unsafe fn integer_scales(block: *const u8, scales: &mut IntegerScales) {
        // SAFETY: the word of upper bits follows the f16 scale.
        let upper = unsafe { v128_load(block.add(16).cast()) };
        for index in 0..4 {
            // SAFETY: the field has 4 bytes a row.
            let lower = unsafe { u16x8_load_extend_u8x8(block.add(32 + 8 * index).cast()) };
            let upper = u16x8_shr(upper, 4 * index as u32);
            scales.scales[2 * index] = six_bits(lower, upper);
            scales.scales[2 * index + 1] = six_bits(u16x8_shr(lower, 4), u16x8_shr(upper, 2));
        }
    }
}

/// Scales of 8 rows from the lowest four bits of `lower` and two of `upper`, less 32.
#[inline(always)]
fn six_bits(lower: v128, upper: v128) -> v128 {
    let upper = u16x8_shl(v128_and(upper, u16x8_splat(3)), 4);
    i16x8_sub(v128_or(v128_and(lower, u16x8_splat(15)), upper), i16x8_splat(32))
}

pub struct MXFP4;

impl Format for MXFP4 {
    const DTYPE: Dtype = Dtype::MXFP4;
    type Shape = Plain;
    const ZERO: i16 = 12;

    fn constants() -> [v128; 4] {
        let values = table(MXFP4_VALUES.map(|value| value + Self::ZERO as i8));
        [nibble_mask(), values, values, values]
    }

    #[inline(always)]
    unsafe fn weights(k: &Constants, block: *const u8, _: usize, _: usize, half: usize, unit: usize) -> Phases {
        // SAFETY: the unit lies within the block.
        let nibbles = both_nibbles(k.own[0], unsafe { load(block, 1, 0, unit, half) });
        two(nibbles.map(|q| Weights::small(k, swizzle(k.own[1], q))))
    }

    /// Half a power of two: see `quant::formats::mxfp4`.
    #[inline(always)]
    unsafe fn scale(_: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the exponents lie within the block.
        let bytes = unsafe { v128_load32_zero(block.add(4 * half).cast()) };
        let exponents = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes));
        let normal = u32x4_shl(u32x4_sub(exponents, u32x4_splat(1)), 23);
        // 2^−128 for exponent 0, 2^−127 for 1.
        let subnormal = u32x4_shl(u32x4_add(exponents, u32x4_splat(1)), 21);
        v128_bitselect(subnormal, normal, u32x4_lt(exponents, u32x4_splat(2)))
    }
}
