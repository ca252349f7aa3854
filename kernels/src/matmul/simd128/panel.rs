//! The product of an interleaved group of 8 rows with many columns. A stretch of the rows is unpacked once, into
//! memory that stays in the processor's nearest cache, and multiplied with a few columns at a time. What
//! multiplies it knows no formats any more, only how they are scaled.

use super::super::activations::{Activations, PAIR, Pair};
use super::Kernels;
use super::ahead::{Ahead, blocks_between, lines};
use super::integers::Sums;
use super::tile::{Each, Format, IntegerScales, Rows, Shape, at_byte, negative_sums, splat};
use super::unpack::{Constants, floats};
use crate::arch::*;
use std::mem::offset_of;
use std::ops::Range;

/// Values of each row that are unpacked at once.
const VALUES: usize = 1024;

/// Columns whose sums are kept.
const STRIP: usize = 64;

/// Columns that are multiplied at once.
pub const COLUMNS: usize = 4;

/// [`Panel::fill`] of a format.
pub type Fill = unsafe fn(&mut Panel, *const u8, usize);

/// [`Panel::add`] of a format, for so many columns.
pub type Add<const COLUMNS: usize> = unsafe fn(&mut Panel, usize, v128, [*const Pair; COLUMNS], usize, &mut Ahead);

/// A stretch of eight rows, unpacked, and the sums of the columns.
pub struct Panel {
    /// For each group four units of two halves, of one vector or two each.
    weights: [v128; VALUES],
    /// Integer scales for each group, as the sums take them.
    scales: [Rows; VALUES / 16],
    /// Minimums for each pair or group.
    minimums: [Rows; VALUES / 16],
    /// For each block its scale and the factor of its minimums.
    factors: [[Rows; 2]; VALUES / PAIR],
    sums: [Rows; STRIP],
}

impl Panel {
    pub fn new() -> Self {
        let zero = [f32x4_splat(0.0); 2];
        Panel {
            weights: [zero[0]; VALUES],
            scales: [zero; VALUES / 16],
            minimums: [zero; VALUES / 16],
            factors: [[zero; 2]; VALUES / PAIR],
            sums: [zero; STRIP],
        }
    }

    /// Calls `store(column, sums)` for every column of the product with eight rows, the first `group_bytes` of `bytes`;
    /// others may follow.
    pub fn multiply(
        &mut self,
        kernels: &Kernels,
        bytes: &[u8],
        group_bytes: usize,
        activations: &Activations,
        columns: Range<usize>,
        mut store: impl FnMut(usize, Rows),
    ) {
        let Kernels { block_bytes, pairs, zero, fill, add, add_several, .. } = *kernels;
        let stretch = VALUES / (pairs * PAIR) * block_bytes;
        let zero = i16x8_splat(zero);
        let mut ahead = Ahead::new(bytes);
        for first in columns.clone().step_by(STRIP) {
            let strip = first..columns.end.min(first + STRIP);
            self.sums.fill([f32x4_splat(0.0); 2]);
            // While one stretch is multiplied, the next is read, in equal parts.
            let calls = strip.len() / COLUMNS + strip.len() % COLUMNS;
            for (index, blocks) in bytes[..group_bytes].chunks(stretch).enumerate() {
                let count = blocks.len() / block_bytes;
                let reads = calls * count.div_ceil(blocks_between(pairs));
                ahead.begin(index * stretch + blocks.len(), lines(blocks.len()).div_ceil(reads));
                // SAFETY: there are as many blocks, no more than fill the panel.
                unsafe { fill(self, blocks.as_ptr(), count) };
                let pairs = |column: usize| &activations.column(column)[index * VALUES / PAIR..][..count * pairs];
                let mut column = strip.start;
                while column < strip.end {
                    let place = column - strip.start;
                    // SAFETY: the columns exist, and have as many pairs as the blocks.
                    unsafe {
                        if strip.end - column >= COLUMNS {
                            let pairs = std::array::from_fn(|i| pairs(column + i).as_ptr());
                            add_several(self, count, zero, pairs, place, &mut ahead);
                            column += COLUMNS;
                        } else {
                            add(self, count, zero, [pairs(column).as_ptr()], place, &mut ahead);
                            column += 1;
                        }
                    }
                }
            }
            for (column, sums) in strip.zip(self.sums) {
                store(column, sums);
            }
        }
    }

    /// Unpacks blocks.
    ///
    /// # Safety
    /// `blocks` points to `count` interleaved blocks of the format.
    #[inline(never)]
    pub unsafe fn fill<F: Format, S: Sums>(&mut self, blocks: *const u8, count: usize) {
        assert!(count * F::DTYPE.block_values() <= VALUES, "blocks that fit the panel");
        let k = Constants::new(F::constants());
        let mut table = IntegerScales::new();
        let section_pairs = if F::PAIRED { 1 } else { F::PHASES };
        for index in 0..count {
            // SAFETY: sections, groups and phases within the block, which the caller promises.
            unsafe {
                let block = at_byte(blocks, index * 8 * F::DTYPE.block_bytes());
                F::integer_scales(block, &mut table);
                self.fill_scales::<F, S>(&k, block, index, &table);
                for section in 0..F::SECTIONS {
                    for group in 0..if F::PAIRED { 1 } else { 2 } {
                        for half in 0..2 {
                            for unit in 0..4 {
                                let weights = F::weights(&k, block, section, group, half, unit);
                                for phase in 0..F::PHASES {
                                    let groups = match F::PAIRED {
                                        true => 2 * section + phase,
                                        false => 2 * (section * section_pairs + phase) + group,
                                    };
                                    let at = 8 * (2 * index * F::Shape::PAIRS + groups) + 2 * unit + half;
                                    let operand = S::operand(weights[phase]);
                                    if S::NARROW {
                                        *self.weights.get_unchecked_mut(at) = operand[0];
                                    } else {
                                        *self.weights.get_unchecked_mut(2 * at) = operand[0];
                                        *self.weights.get_unchecked_mut(2 * at + 1) = operand[1];
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Keeps the scales of block number `index`.
    ///
    /// # Safety
    /// `block` points to an interleaved block of the format.
    #[inline(always)]
    unsafe fn fill_scales<F: Format, S: Sums>(
        &mut self,
        k: &Constants,
        block: *const u8,
        index: usize,
        table: &IntegerScales,
    ) {
        // SAFETY: by the caller's promise.
        self.factors[index] = unsafe {
            [
                [F::scale(k, block, 0), F::scale(k, block, 1)],
                match F::Shape::MINIMUMS {
                    None => [f32x4_splat(0.0); 2],
                    Some(_) => [F::minimum(k, block, 0), F::minimum(k, block, 1)],
                },
            ]
        };
        for group in 0..2 * F::Shape::PAIRS {
            let place = 2 * index * F::Shape::PAIRS + group;
            let source = match F::Shape::SCALES {
                Some(Each::Group) => group,
                _ => group / 2,
            };
            if F::Shape::SCALES.is_some() {
                self.scales[place] = [table.scales::<S>(source, 0), table.scales::<S>(source, 1)];
            }
            if F::Shape::MINIMUMS.is_some_and(|each| each != Each::Block) {
                self.minimums[place] = floats(table.minimums[source]);
            }
        }
    }

    /// Adds the products of the unpacked blocks with a few columns to their sums, from place `first` on, and reads
    /// ahead.
    ///
    /// # Safety
    /// `columns` point to as many pairs as there are in `count` blocks, which were unpacked.
    #[inline(never)]
    pub unsafe fn add<H: Shape, S: Sums, const COLUMNS: usize>(
        &mut self,
        count: usize,
        zero: v128,
        columns: [*const Pair; COLUMNS],
        first: usize,
        ahead: &mut Ahead,
    ) {
        let mut sums: [Rows; COLUMNS] = std::array::from_fn(|column| self.sums[first + column]);
        for index in 0..count {
            if index % blocks_between(H::PAIRS) == 0 {
                ahead.read();
            }
            // SAFETY: by the caller's promise.
            unsafe {
                let columns = all_at(columns, index * H::PAIRS);
                let products = [
                    self.groups::<H, S, 0, COLUMNS>(index, zero, columns),
                    self.groups::<H, S, 1, COLUMNS>(index, zero, columns),
                ];
                let minimums = self.minimums::<H, COLUMNS>(index, columns);
                let [scale, minimum] = *self.factors.get_unchecked(index);
                for column in 0..COLUMNS {
                    for half in 0..2 {
                        let sum = &mut sums[column][half];
                        let product = f32x4_add(products[0][column][half], products[1][column][half]);
                        *sum = f32x4_add(*sum, f32x4_mul(scale[half], product));
                        if H::MINIMUMS.is_some() {
                            *sum = f32x4_sub(*sum, f32x4_mul(minimum[half], minimums[column][half]));
                        }
                    }
                }
            }
        }
        self.sums[first..first + COLUMNS].copy_from_slice(&sums);
    }

    /// The products of group `GROUP` of every pair of a block, added up.
    ///
    /// # Safety
    /// `columns` point to the block's pairs.
    #[inline(always)]
    unsafe fn groups<H: Shape, S: Sums, const GROUP: usize, const COLUMNS: usize>(
        &self,
        index: usize,
        zero: v128,
        columns: [*const Pair; COLUMNS],
    ) -> [Rows; COLUMNS] {
        let mut chains = [[f32x4_splat(0.0); 2]; COLUMNS];
        for pair in 0..H::PAIRS {
            // SAFETY: the group was unpacked, and the columns have the pair.
            unsafe {
                let columns = all_at(columns, pair);
                let group = 2 * (index * H::PAIRS + pair) + GROUP;
                let width = if S::NARROW { 1 } else { 2 };
                let weights = at_byte(self.weights.as_ptr(), 128 * width * group);
                let start = |column| match H::MINIMUMS {
                    // What has minimums has no zero point.
                    Some(_) => S::new(i16x8_splat(0), 0),
                    None => S::new_at(negative_sums(column, GROUP), zero),
                };
                let scales = at_byte(self.scales.as_ptr(), 32 * group);
                let scales = H::SCALES.map(|_| *scales);
                let operand = |unit: usize, half: usize| {
                    let at = width * (2 * unit + half);
                    [*weights.add(at), *weights.add(at + width - 1)]
                };
                if S::NARROW {
                    // The weights stay in registers, and one column's sums at a time; a loop over the columns would
                    // be left as one.
                    let operands = [0, 1].map(|half| [0, 1, 2, 3].map(|unit| operand(unit, half)));
                    let mut add = |column: usize| {
                        add_column::<H, S, GROUP>(
                            &operands,
                            scales,
                            start(columns[column]),
                            columns[column],
                            &mut chains[column],
                        );
                    };
                    add(0);
                    if COLUMNS > 1 {
                        add(1);
                        add(2);
                        add(3);
                    }
                } else {
                    let mut sums = columns.map(|column| [start(column); 2]);
                    for unit in 0..4 {
                        for column in 0..COLUMNS {
                            for half in 0..2 {
                                sums[column][half].add(operand(unit, half), columns[column], 16 * GROUP + 4 * unit);
                            }
                        }
                    }
                    for column in 0..COLUMNS {
                        add_totals::<H, S, GROUP>(scales, sums[column], columns[column], &mut chains[column]);
                    }
                }
            }
        }
        chains
    }

    /// The minimums of a block's pairs times the sums of their activations.
    ///
    /// # Safety
    /// `columns` point to the block's pairs.
    #[inline(always)]
    unsafe fn minimums<H: Shape, const COLUMNS: usize>(
        &self,
        index: usize,
        columns: [*const Pair; COLUMNS],
    ) -> [Rows; COLUMNS] {
        let mut minimums = [[f32x4_splat(0.0); 2]; COLUMNS];
        let Some(each) = H::MINIMUMS else { return minimums };
        for pair in 0..H::PAIRS {
            // SAFETY: the columns have the pair, and its minimums were unpacked.
            unsafe {
                let columns = all_at(columns, pair);
                let weights = at_byte(self.minimums.as_ptr(), 64 * (index * H::PAIRS + pair));
                for column in 0..COLUMNS {
                    let sum = splat(columns[column], offset_of!(Pair, sum));
                    for half in 0..2 {
                        let minimum = &mut minimums[column][half];
                        match each {
                            // An offset that is added is a minimum of weight −1.
                            Each::Block => *minimum = f32x4_neg(sum),
                            Each::Pair => *minimum = f32x4_add(*minimum, f32x4_mul((*weights)[half], sum)),
                            Each::Group => {
                                for group in 0..2 {
                                    let sum = splat(columns[column], offset_of!(Pair, sums) + 4 * group);
                                    let product = f32x4_mul((*weights.add(group))[half], sum);
                                    *minimum = f32x4_add(*minimum, product);
                                }
                            }
                        }
                    }
                }
            }
        }
        minimums
    }
}

/// Adds the products of a group with a column to its chains.
///
/// # Safety
/// `pair` points to the column's pair.
#[inline(always)]
unsafe fn add_column<H: Shape, S: Sums, const GROUP: usize>(
    operands: &[[[v128; 2]; 4]; 2],
    scales: Option<Rows>,
    start: S,
    pair: *const Pair,
    chains: &mut Rows,
) {
    let mut sums = [start; 2];
    for unit in 0..4 {
        for half in 0..2 {
            // SAFETY: by the caller's promise.
            unsafe { sums[half].add(operands[half][unit], pair, 16 * GROUP + 4 * unit) };
        }
    }
    // SAFETY: as before.
    unsafe { add_totals::<H, S, GROUP>(scales, sums, pair, chains) };
}

/// Adds the totals of a group to the chains of a column.
///
/// # Safety
/// `pair` points to the column's pair.
#[inline(always)]
unsafe fn add_totals<H: Shape, S: Sums, const GROUP: usize>(
    scales: Option<Rows>,
    sums: [S; 2],
    pair: *const Pair,
    chains: &mut Rows,
) {
    // SAFETY: by the caller's promise.
    let factor = unsafe { splat(pair, offset_of!(Pair, scales) + 4 * GROUP) };
    for half in 0..2 {
        let product = f32x4_mul(factor, sums[half].total(scales.map(|scales| scales[half])));
        // Zero and the only product of a block are that product.
        chains[half] = if H::PAIRS == 1 { product } else { f32x4_add(chains[half], product) };
    }
}

/// The pairs that are `index` further on.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn all_at<const COLUMNS: usize>(columns: [*const Pair; COLUMNS], index: usize) -> [*const Pair; COLUMNS] {
    let mut result = columns;
    for column in &mut result {
        // SAFETY: by the caller's promise.
        *column = unsafe { at_byte(*column, index * size_of::<Pair>()) };
    }
    result
}
