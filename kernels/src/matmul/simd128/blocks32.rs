//! Interleaved Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0; the layouts of the file are in `quant::formats`.

#![allow(non_camel_case_types)]

use super::integers::{Weights, swizzle};
use super::tile::{Format, Offset, Phases, Plain};
use super::unpack::*;
use crate::arch::*;
use crate::quant::Dtype;

/// Q4_0 and Q4_1 differ in their scales only.
macro_rules! four_bits {
    ($name:ident, $quants:literal, $zero:literal, $shape:ty) => {
        pub struct $name;

        impl Format for $name {
            const DTYPE: Dtype = Dtype::$name;
            type Shape = $shape;
            const ZERO: i16 = $zero;

            #[inline(always)]
            unsafe fn weights(k: &Constants, block: *const u8, _: usize, _: usize, half: usize, unit: usize) -> Phases {
                // SAFETY: the unit lies within the block.
                two(both_nibbles(k.own[0], unsafe { load(block, $quants, 0, unit, half) })
                    .map(|q| Weights::small(k, q)))
            }

            #[inline(always)]
            unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
                // SAFETY: the scales lie within the block.
                unsafe { halves(k, block, 0, half) }
            }

            #[inline(always)]
            unsafe fn minimum(k: &Constants, block: *const u8, half: usize) -> v128 {
                // SAFETY: as before; Q4_0, which has none, does not use what is read.
                unsafe { halves(k, block, 2, half) }
            }
        }
    };
}

four_bits!(Q4_0, 2, 8, Plain);
four_bits!(Q4_1, 4, 0, Offset);

/// The first byte of each row's word, four times.
#[inline(always)]
fn first_bytes() -> v128 {
    u8x16(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)
}

/// Q5_0 and Q5_1 differ in their scales only.
macro_rules! five_bits {
    ($name:ident, $high:literal, $zero:literal, $shape:ty) => {
        pub struct $name;

        impl Format for $name {
            const DTYPE: Dtype = Dtype::$name;
            type Shape = $shape;
            const ZERO: i16 = $zero;

            fn constants() -> [v128; 4] {
                [nibble_mask(), u8x16_splat(16), u8x16_splat(0), u8x16_splat(0)]
            }

            #[inline(always)]
            unsafe fn weights(k: &Constants, block: *const u8, _: usize, _: usize, half: usize, unit: usize) -> Phases {
                // SAFETY: both units lie within the block.
                let (high, low) = unsafe { (load(block, $high, 0, 0, half), load(block, $high + 4, 0, unit, half)) };
                let nibbles = both_nibbles(k.own[0], low);
                // The fifth bits of this unit are a nibble of byte `2 · phase + unit / 2` of each row.
                let bits = u32x4_splat(0x0804_0201 << (4 * (unit % 2)));
                two([0, 1].map(|phase| {
                    let byte = u8x16_splat((2 * phase + unit / 2) as u8);
                    let bytes = swizzle(high, u8x16_add(first_bytes(), byte));
                    Weights::small(k, v128_or(nibbles[phase], where_set(bytes, bits, k.own[1])))
                }))
            }

            #[inline(always)]
            unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
                // SAFETY: the scales lie within the block.
                unsafe { halves(k, block, 0, half) }
            }

            #[inline(always)]
            unsafe fn minimum(k: &Constants, block: *const u8, half: usize) -> v128 {
                // SAFETY: as before; Q5_0, which has none, does not use what is read.
                unsafe { halves(k, block, 2, half) }
            }
        }
    };
}

five_bits!(Q5_0, 2, 16, Plain);
five_bits!(Q5_1, 4, 0, Offset);

pub struct Q8_0;

impl Format for Q8_0 {
    const DTYPE: Dtype = Dtype::Q8_0;
    type Shape = Plain;
    const PHASES: usize = 1;
    const PAIRED: bool = false;

    #[inline(always)]
    unsafe fn weights(_: &Constants, block: *const u8, _: usize, group: usize, half: usize, unit: usize) -> Phases {
        // SAFETY: the unit lies within the block.
        [Weights::signed(unsafe { load(block, 2, 4 * group, unit, half) }); 4]
    }

    #[inline(always)]
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128 {
        // SAFETY: the scales lie within the block.
        unsafe { halves(k, block, 0, half) }
    }
}
