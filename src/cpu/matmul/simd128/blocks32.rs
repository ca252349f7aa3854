//! Interleaved Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0; the layouts of the file are in `quant::blocks32`.

#![allow(non_camel_case_types)]

use super::integers::Weights;
use super::tile::Format;
use super::unpack::*;
use crate::cpu::arch::*;
use crate::quant::Dtype;

/// Q4_0 and Q4_1 differ in their scales only.
macro_rules! four_bits {
    ($name:ident, $quants:literal, $zero:literal, $minimums:literal) => {
        pub struct $name;

        impl Format for $name {
            const DTYPE: Dtype = Dtype::$name;
            const ZERO: i16 = $zero;
            const MINIMUMS: bool = $minimums;

            #[inline(always)]
            unsafe fn weights<const P: usize, const GROUP: usize>(
                block: *const u8,
                _: usize,
                half: usize,
                unit: usize,
            ) -> Weights {
                // SAFETY: the unit lies within the block.
                Weights::small(nibbles::<GROUP>(unsafe { load(block, $quants, unit, half) }))
            }

            #[inline(always)]
            unsafe fn scale(block: *const u8, half: usize) -> v128 {
                // SAFETY: the scales lie within the block.
                unsafe { halves(block, 0, half) }
            }

            #[inline(always)]
            unsafe fn minimum(block: *const u8, half: usize) -> v128 {
                // SAFETY: as before; Q4_0, which has none, does not use what is read.
                unsafe { halves(block, 2, half) }
            }
        }
    };
}

four_bits!(Q4_0, 2, 8, false);
four_bits!(Q4_1, 4, 0, true);

/// Q5_0 and Q5_1 differ in their scales only.
macro_rules! five_bits {
    ($name:ident, $high:literal, $zero:literal, $minimums:literal) => {
        pub struct $name;

        impl Format for $name {
            const DTYPE: Dtype = Dtype::$name;
            const ZERO: i16 = $zero;
            const MINIMUMS: bool = $minimums;

            #[inline(always)]
            unsafe fn weights<const P: usize, const GROUP: usize>(
                block: *const u8,
                _: usize,
                half: usize,
                unit: usize,
            ) -> Weights {
                // SAFETY: both units lie within the block.
                let (high, low) = unsafe { (load(block, $high, 0, half), load(block, $high + 4, unit, half)) };
                // The fifth bits of this unit are a nibble of byte `2 · GROUP + unit / 2` of each row.
                let byte = (2 * GROUP + unit / 2) as u8;
                let rows = u8x16(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
                let bytes = i8x16_swizzle(high, u8x16_add(rows, u8x16_splat(byte)));
                let bits = u32x4_splat(0x0804_0201 << (4 * (unit % 2)));
                Weights::small(v128_or(nibbles::<GROUP>(low), where_set(bytes, bits, 16)))
            }

            #[inline(always)]
            unsafe fn scale(block: *const u8, half: usize) -> v128 {
                // SAFETY: the scales lie within the block.
                unsafe { halves(block, 0, half) }
            }

            #[inline(always)]
            unsafe fn minimum(block: *const u8, half: usize) -> v128 {
                // SAFETY: as before; Q5_0, which has none, does not use what is read.
                unsafe { halves(block, 2, half) }
            }
        }
    };
}

five_bits!(Q5_0, 2, 16, false);
five_bits!(Q5_1, 4, 0, true);

pub struct Q8_0;

impl Format for Q8_0 {
    const DTYPE: Dtype = Dtype::Q8_0;
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn weights<const P: usize, const GROUP: usize>(
        block: *const u8,
        _: usize,
        half: usize,
        unit: usize,
    ) -> Weights {
        // SAFETY: the unit lies within the block.
        Weights::signed(unsafe { load(block, 2, 4 * GROUP + unit, half) })
    }

    #[inline(always)]
    unsafe fn scale(block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(block, 0, half) }
    }
}
