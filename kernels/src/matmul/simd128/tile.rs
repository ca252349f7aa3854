//! What a block format is to the kernels, and the product of an interleaved group of 8 rows with one column,
//! block after block. Formats say how their weights and scales unpack, the loops are here and in `panel`.

use super::super::activations::Pair;
use super::ahead::{Ahead, lines};
use super::integers::{Sums, Weights};
use super::unpack::{Constants, nibble_mask};
use crate::arch::*;
use crate::quant::{Dtype, GROUP_ROWS};
use std::mem::offset_of;

/// Rows 0 to 3 of a group, which are half 0, and rows 4 to 7, half 1.
pub type Rows = [v128; 2];

/// Weights that lie in different bits of the same bytes; those of two phases stand there twice, of one four times.
pub type Phases = [Weights; 4];

/// A block format, interleaved. A block is made of pairs of groups of 16 values.
pub trait Format {
    const DTYPE: Dtype;
    /// How the block is scaled.
    type Shape: Shape;
    /// Runs of values whose quants share no bytes but those of their upper bits.
    const SECTIONS: usize = 1;
    /// Groups whose quants lie in the same bytes: 1, 2 or 4.
    const PHASES: usize = 2;
    /// Whether these groups are a pair's two, rather than one of each of as many pairs.
    const PAIRED: bool = true;
    /// What small integers are too large by.
    const ZERO: i16 = 0;

    /// What [`Format::weights`] takes from [`Constants::own`].
    fn constants() -> [v128; 4] {
        [nibble_mask(); 4]
    }

    /// Four weights of four rows for each phase, from value `4 · unit` of the phase's group on. If a section has
    /// pairs for each phase, `group` tells which of their groups is meant.
    ///
    /// # Safety
    /// `block` points to a whole interleaved block; `section`, `group`, `half` and `unit` are in range.
    unsafe fn weights(
        k: &Constants,
        block: *const u8,
        section: usize,
        group: usize,
        half: usize,
        unit: usize,
    ) -> Phases;

    /// The f32 scales of four rows.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn scale(k: &Constants, block: *const u8, half: usize) -> v128;

    /// The f32 factors of the minimums of four rows.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn minimum(_k: &Constants, _block: *const u8, _half: usize) -> v128 {
        f32x4_splat(0.0)
    }

    /// Unpacks the integer scales and minimums of the block.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn integer_scales(_block: *const u8, _scales: &mut IntegerScales) {}
}

/// What kinds of scales blocks have. The kernels that see weights after they were unpacked need to know no more.
pub trait Shape {
    /// Pairs in a block.
    const PAIRS: usize;
    /// What has an integer scale of its own, if anything smaller than the block has.
    const SCALES: Option<Each>;
    /// What has a minimum of its own, which is the block's offset if that is all.
    const MINIMUMS: Option<Each>;
}

/// What a scale or minimum applies to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Each {
    Block,
    Pair,
    Group,
}

/// A pair with a scale.
pub struct Plain;
/// A pair with a scale and an offset.
pub struct Offset;
/// Eight pairs with a scale for each.
pub struct PairScales;
/// Eight pairs with a scale for each group.
pub struct GroupScales;
/// Eight pairs with a scale and minimum for each.
pub struct PairMinimums;
/// Eight pairs with a scale and minimum for each group.
pub struct GroupMinimums;

/// Writes down the shapes.
macro_rules! shapes {
    ($($name:ident: $pairs:literal, $scales:expr, $minimums:expr;)+) => {
        $(impl Shape for $name {
            const PAIRS: usize = $pairs;
            const SCALES: Option<Each> = $scales;
            const MINIMUMS: Option<Each> = $minimums;
        })+
    };
}

shapes! {
    Plain: 1, None, None;
    Offset: 1, None, Some(Each::Block);
    PairScales: 8, Some(Each::Pair), None;
    GroupScales: 8, Some(Each::Group), None;
    PairMinimums: 8, Some(Each::Pair), Some(Each::Pair);
    GroupMinimums: 8, Some(Each::Group), Some(Each::Group);
}

/// Integer scales and minimums of a block, for each pair or group, as 16-bit integers of eight rows.
pub struct IntegerScales {
    pub scales: [v128; 16],
    pub minimums: [v128; 16],
}

impl IntegerScales {
    pub fn new() -> Self {
        IntegerScales { scales: [i16x8_splat(0); 16], minimums: [i16x8_splat(0); 16] }
    }

    /// The scales of four rows.
    #[inline(always)]
    pub fn scales<S: Sums>(&self, index: usize, half: usize) -> v128 {
        // SAFETY: four words of a vector.
        unsafe { S::scales((&raw const self.scales[index]).cast::<i16>().add(4 * half)) }
    }

    /// The minimums of four rows, as f32.
    #[inline(always)]
    pub fn minimums(&self, index: usize, half: usize) -> v128 {
        // SAFETY: four words of a vector.
        let words = unsafe { u32x4_load_extend_u16x4((&raw const self.minimums[index]).cast::<u16>().add(4 * half)) };
        f32x4_convert_i32x4(words)
    }
}

/// How far weights are read ahead of those that are multiplied, in bytes.
const AHEAD: usize = 4096;

/// The product of eight rows with a column. The rows are the first `group_bytes` of `bytes`; others may follow.
#[inline(never)]
pub fn column<F: Format, S: Sums>(bytes: &[u8], group_bytes: usize, column: &[Pair]) -> Rows {
    let block_bytes = GROUP_ROWS * F::DTYPE.block_bytes();
    let count = bytes[..group_bytes].len() / block_bytes;
    assert!(column.len() == count * F::Shape::PAIRS, "columns as long as the rows");
    let k = Constants::new(F::constants());
    let mut scales = IntegerScales::new();
    let mut sums = [f32x4_splat(0.0); 2];
    let mut ahead = Ahead::new(bytes);
    for index in 0..count {
        // Smaller blocks are read in order, and processors see that.
        if F::Shape::PAIRS > 1 {
            ahead.begin(AHEAD + index * block_bytes, lines(block_bytes));
            ahead.read();
        }
        // SAFETY: there are `count` blocks, and as many times the pairs of a block in the column.
        unsafe {
            let block = at_byte(bytes.as_ptr(), index * block_bytes);
            let pairs = at_byte(column.as_ptr(), index * F::Shape::PAIRS * size_of::<Pair>());
            F::integer_scales(block, &mut scales);
            if F::PHASES > 2 {
                // So much unpacking leaves too few registers for eight rows.
                for (half, sum) in sums.iter_mut().enumerate() {
                    add_block::<F, S, 1>(&k, block, pairs, &scales, half, std::slice::from_mut(sum));
                }
            } else {
                add_block::<F, S, 2>(&k, block, pairs, &scales, 0, &mut sums);
            }
        }
    }
    sums
}

/// Adds the products of a block to the sums of `HALVES` halves from the first on.
///
/// # Safety
/// `block` points to an interleaved block of the format, `pairs` to as many as it has.
#[inline(always)]
unsafe fn add_block<F: Format, S: Sums, const HALVES: usize>(
    k: &Constants,
    block: *const u8,
    pairs: *const Pair,
    scales: &IntegerScales,
    first: usize,
    sums: &mut [v128],
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut chains = [[f32x4_splat(0.0); HALVES]; 2];
        sections::<F, S, HALVES, 0>(k, block, pairs, scales, first, &mut chains);
        if !F::PAIRED {
            sections::<F, S, HALVES, 1>(k, block, pairs, scales, first, &mut chains);
        }
        let minimums = minimums::<F, HALVES>(pairs, scales, first);
        for half in 0..HALVES {
            let products = f32x4_add(chains[0][half], chains[1][half]);
            let scale = F::scale(k, block, first + half);
            sums[half] = f32x4_add(sums[half], f32x4_mul(scale, products));
            if F::Shape::MINIMUMS.is_some() {
                let minimum = F::minimum(k, block, first + half);
                sums[half] = f32x4_sub(sums[half], f32x4_mul(minimum, minimums[half]));
            }
        }
    }
}

/// Adds the products of group `GROUP` of every pair to its chain; of both groups, if they are a section's phases.
///
/// # Safety
/// As for [`add_block`].
#[inline(always)]
unsafe fn sections<F: Format, S: Sums, const HALVES: usize, const GROUP: usize>(
    k: &Constants,
    block: *const u8,
    pairs: *const Pair,
    scales: &IntegerScales,
    first: usize,
    chains: &mut [[v128; HALVES]; 2],
) {
    let section_pairs = if F::PAIRED { 1 } else { F::PHASES };
    // Of each phase: its pair after the section's first, and its group.
    let (pair, group) = match F::PAIRED {
        true => ([0; 4], [0, 1, 0, 1]),
        false => ([0, 1, 2, 3], [GROUP; 4]),
    };
    for section in 0..F::SECTIONS {
        // SAFETY: sections and phases within the block and its pairs.
        unsafe {
            let rows = at_byte(block, 16 * first);
            let pairs = at_byte(pairs, section * section_pairs * size_of::<Pair>());
            let mut sums = [[S::new(i16x8_splat(0), 0); HALVES]; 4];
            for phase in 0..F::PHASES {
                sums[phase] = [S::new(negative_sums(pairs.add(pair[phase]), group[phase]), F::ZERO); HALVES];
            }
            for unit in 0..4 {
                for half in 0..HALVES {
                    let weights = F::weights(k, rows, section, GROUP, half, unit);
                    for phase in 0..F::PHASES {
                        let at = 16 * group[phase] + 4 * unit;
                        sums[phase][half].add(S::operand(weights[phase]), pairs.add(pair[phase]), at);
                    }
                }
            }
            for phase in 0..F::PHASES {
                let factor = splat(pairs.add(pair[phase]), offset_of!(Pair, scales) + 4 * group[phase]);
                let index = section * section_pairs + pair[phase];
                for half in 0..HALVES {
                    let scale = match F::Shape::SCALES {
                        None | Some(Each::Block) => None,
                        Some(Each::Pair) => Some(scales.scales::<S>(index, first + half)),
                        Some(Each::Group) => Some(scales.scales::<S>(2 * index + group[phase], first + half)),
                    };
                    let chain = &mut chains[group[phase]][half];
                    let total = sums[phase][half].total(scale);
                    *chain = f32x4_add(*chain, f32x4_mul(factor, total));
                }
            }
        }
    }
}

/// The minimums of a block's pairs times the sums of their activations.
///
/// # Safety
/// `pairs` points to as many as a block has.
#[inline(always)]
unsafe fn minimums<F: Format, const HALVES: usize>(
    pairs: *const Pair,
    scales: &IntegerScales,
    first: usize,
) -> [v128; HALVES] {
    let mut minimums = [f32x4_splat(0.0); HALVES];
    let Some(each) = F::Shape::MINIMUMS else { return minimums };
    for index in 0..F::Shape::PAIRS {
        // SAFETY: the pair exists, by the caller's promise.
        let pair = unsafe { at_byte(pairs, index * size_of::<Pair>()) };
        for (half, minimum) in minimums.iter_mut().enumerate() {
            // SAFETY: as before.
            unsafe {
                match each {
                    // An offset that is added is a minimum of weight −1.
                    Each::Block => *minimum = f32x4_neg(splat(pair, offset_of!(Pair, sum))),
                    Each::Pair => {
                        let product =
                            f32x4_mul(scales.minimums(index, first + half), splat(pair, offset_of!(Pair, sum)));
                        *minimum = f32x4_add(*minimum, product);
                    }
                    Each::Group => {
                        for group in 0..2 {
                            let sum = splat(pair, offset_of!(Pair, sums) + 4 * group);
                            let product = f32x4_mul(scales.minimums(2 * index + group, first + half), sum);
                            *minimum = f32x4_add(*minimum, product);
                        }
                    }
                }
            }
        }
    }
    minimums
}

/// `bytes` further on. Compilers rewrite pointers that advance with a loop, and lose on the way that
/// constant offsets from them do not wrap around, so that loads cannot have the offsets in themselves:
/// a fifth of all instructions. What was a number is left alone.
///
/// # Safety
/// The result lies within what `from` points to.
#[inline(always)]
pub unsafe fn at_byte<T>(from: *const T, bytes: usize) -> *const T {
    std::ptr::with_exposed_provenance(from.expose_provenance() + bytes)
}

/// The negative sums of a group's activations, in every lane.
///
/// # Safety
/// `pair` points to a pair.
#[inline(always)]
pub unsafe fn negative_sums(pair: *const Pair, group: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { splat(pair, offset_of!(Pair, negative_sums) + 4 * group) }
}

/// The four bytes at an offset of a pair, in every lane.
///
/// # Safety
/// `pair` points to a pair, and the bytes lie within it.
#[inline(always)]
pub unsafe fn splat(pair: *const Pair, offset: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load32_splat(pair.cast::<u8>().add(offset).cast()) }
}
