//! The one shape of every quantised product: an interleaved group of 8 rows times a few columns, block
//! after block. Formats say how their weights and scales unpack, the loops are here.

use super::super::Product;
use super::super::activations::{Activations, PAIR, Pair};
use super::super::layout::{GROUP_ROWS, row_bytes};
use super::integers::{Planes, Range, Sums};
use crate::cpu::arch::*;
use crate::quant::Dtype;
use std::array::from_fn;

/// A block format, interleaved. A block is `SECTIONS · PHASES` pairs of groups of 16 values: within a
/// section, phases take different bits of the same bytes. Rows 0 to 3 of the group are half 0, rows
/// 4 to 7 half 1.
pub trait Format {
    const DTYPE: Dtype;
    const SECTIONS: usize = 1;
    const PHASES: usize = 1;
    const RANGE: Range;
    /// What the weights' integers are too large by.
    const ZERO: i32 = 0;
    /// How many values share an integer scale: 32, 16, or all of the block's.
    const SCALED: Scaled = Scaled::Block;
    /// Whether the format has minimums, or offsets.
    const MINIMUMS: bool = false;

    /// Four weights of four rows: those from value `16 · GROUP + 4 · unit` on of pair
    /// `section · PHASES + PHASE`.
    ///
    /// # Safety
    /// `block` points to a whole interleaved block; `section`, `half` and `unit` are in range.
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> v128;

    /// The f32 scales of four rows.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn scale(block: *const u8, half: usize) -> v128;

    /// The f32 factors of the minimums of four rows.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn minimum(_block: *const u8, _half: usize) -> v128 {
        f32x4_splat(0.0)
    }

    /// Unpacks the integer scales and minimums of the block.
    ///
    /// # Safety
    /// As for [`Format::weights`].
    unsafe fn integer_scales(_block: *const u8, _scales: &mut IntegerScales) {}
}

/// What an integer scale applies to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scaled {
    Block,
    Pair,
    Group,
}

/// Integer scales and minimums of a block as f32: for each pair or group, of rows 0 to 3 and 4 to 7.
pub struct IntegerScales {
    pub scales: [[v128; 2]; 16],
    pub minimums: [[v128; 2]; 16],
}

/// Columns that one decoding of the weights serves.
const COLUMNS: usize = 4;

/// The product of group number `group` with all columns of the product.
pub fn group<F: Format>(product: &mut Product, activations: &Activations, group: usize) {
    let group_bytes = GROUP_ROWS * row_bytes(F::DTYPE, product.matrix.columns);
    let blocks = &product.matrix.bytes[group * group_bytes..][..group_bytes];
    let mut column = product.columns.start;
    while column < product.columns.end {
        if product.columns.end - column >= COLUMNS {
            let columns = from_fn(|i| activations.column(column + i));
            let low = tile::<F, 1, COLUMNS>(blocks, 0, columns);
            let high = tile::<F, 1, COLUMNS>(blocks, 1, columns);
            for i in 0..COLUMNS {
                store(product, group, column + i, [low[i][0], high[i][0]]);
            }
            column += COLUMNS;
        } else {
            let [sums] = tile::<F, 2, 1>(blocks, 0, [activations.column(column)]);
            store(product, group, column, sums);
            column += 1;
        }
    }
}

/// Writes the results of 8 rows, or of those among them that the product is for.
#[inline]
fn store(product: &mut Product, group: usize, column: usize, sums: [v128; 2]) {
    let mut values = [0.0f32; GROUP_ROWS];
    // SAFETY: the array has room for two vectors.
    unsafe {
        v128_store(values.as_mut_ptr().cast(), sums[0]);
        v128_store(values.as_mut_ptr().add(4).cast(), sums[1]);
    }
    let first = group * GROUP_ROWS;
    for row in first.max(product.rows.start)..(first + GROUP_ROWS).min(product.rows.end) {
        product.put(row, column, values[row - first]);
    }
}

/// `4 · HALVES` rows times `COLUMNS` columns, beginning with rows of half `half`.
#[inline(never)]
fn tile<F: Format, const HALVES: usize, const COLUMNS: usize>(
    blocks: &[u8],
    half: usize,
    columns: [&[Pair]; COLUMNS],
) -> [[v128; HALVES]; COLUMNS] {
    let block_bytes = GROUP_ROWS * F::DTYPE.block_bytes();
    let pairs = F::SECTIONS * F::PHASES;
    assert_eq!(pairs * PAIR, F::DTYPE.block_values());
    let count = blocks.len() / block_bytes;
    assert!(columns.iter().all(|column| column.len() == count * pairs), "columns as long as the rows");
    assert!(half + HALVES <= 2);
    let mut state = State::<HALVES, COLUMNS>::new();
    for index in 0..count {
        // SAFETY: `index` is below the number of whole blocks, and of `pairs` pairs in each column.
        unsafe {
            let block = blocks.as_ptr().add(index * block_bytes);
            state.block::<F>(block, half, columns.map(|column| column.as_ptr().add(index * pairs)));
        }
    }
    state.sums
}

/// Sums of a tile; `products` and `minimums` those of the current block.
struct State<const HALVES: usize, const COLUMNS: usize> {
    sums: [[v128; HALVES]; COLUMNS],
    products: [[v128; HALVES]; COLUMNS],
    minimums: [[v128; HALVES]; COLUMNS],
    scales: IntegerScales,
}

impl<const HALVES: usize, const COLUMNS: usize> State<HALVES, COLUMNS> {
    #[inline(always)]
    fn new() -> Self {
        let zero = f32x4_splat(0.0);
        let sums = [[zero; HALVES]; COLUMNS];
        let scales = IntegerScales { scales: [[zero; 2]; 16], minimums: [[zero; 2]; 16] };
        State { sums, products: sums, minimums: sums, scales }
    }

    /// Adds the products of a block.
    ///
    /// # Safety
    /// `block` points to an interleaved block of the format, `columns` to as many pairs as it has, and
    /// `half + HALVES` is at most 2.
    #[inline(always)]
    unsafe fn block<F: Format>(&mut self, block: *const u8, half: usize, columns: [*const Pair; COLUMNS]) {
        let zero = f32x4_splat(0.0);
        self.products = [[zero; HALVES]; COLUMNS];
        self.minimums = [[zero; HALVES]; COLUMNS];
        // SAFETY: all pointers as the caller promises; sections and phases within the block.
        unsafe {
            F::integer_scales(block, &mut self.scales);
            for section in 0..F::SECTIONS {
                self.pair::<F, 0>(block, section, half, columns);
                if F::PHASES > 1 {
                    self.pair::<F, 1>(block, section, half, columns);
                }
                if F::PHASES > 2 {
                    self.pair::<F, 2>(block, section, half, columns);
                    self.pair::<F, 3>(block, section, half, columns);
                }
            }
            for h in 0..HALVES {
                let scale = F::scale(block, half + h);
                let minimum = F::minimum(block, half + h);
                for c in 0..COLUMNS {
                    let sum = &mut self.sums[c][h];
                    *sum = f32x4_add(*sum, f32x4_mul(scale, self.products[c][h]));
                    if F::MINIMUMS {
                        *sum = f32x4_sub(*sum, f32x4_mul(minimum, self.minimums[c][h]));
                    }
                }
            }
        }
    }

    /// Adds the products of a pair of groups.
    ///
    /// # Safety
    /// As for [`State::block`].
    #[inline(always)]
    unsafe fn pair<F: Format, const PHASE: usize>(
        &mut self,
        block: *const u8,
        section: usize,
        half: usize,
        columns: [*const Pair; COLUMNS],
    ) {
        let index = section * F::PHASES + PHASE;
        // SAFETY: the pair exists in the block and in every column, by the caller's promise.
        unsafe {
            let columns = columns.map(|column| column.add(index));
            let low = products::<F, PHASE, 0, HALVES, COLUMNS>(block, section, half, columns);
            let high = products::<F, PHASE, 1, HALVES, COLUMNS>(block, section, half, columns);
            for c in 0..COLUMNS {
                for h in 0..HALVES {
                    self.combine::<F>(index, half, (c, h), low[c][h], high[c][h]);
                    if F::MINIMUMS {
                        self.add_minimums::<F>(index, half, (c, h), columns[c]);
                    }
                }
            }
        }
    }

    /// Applies the integer scales, in the order of the scalar twin.
    #[inline(always)]
    fn combine<F: Format>(&mut self, index: usize, half: usize, (c, h): (usize, usize), low: v128, high: v128) {
        let sum = &mut self.products[c][h];
        let scales = &self.scales.scales;
        match F::SCALED {
            Scaled::Block => *sum = f32x4_add(low, high),
            Scaled::Pair => *sum = f32x4_add(*sum, f32x4_mul(scales[index][half + h], f32x4_add(low, high))),
            Scaled::Group => {
                *sum = f32x4_add(*sum, f32x4_mul(scales[2 * index][half + h], low));
                *sum = f32x4_add(*sum, f32x4_mul(scales[2 * index + 1][half + h], high));
            }
        }
    }

    /// # Safety
    /// `column` points to a pair.
    #[inline(always)]
    unsafe fn add_minimums<F: Format>(
        &mut self,
        index: usize,
        half: usize,
        (c, h): (usize, usize),
        column: *const Pair,
    ) {
        let sum = &mut self.minimums[c][h];
        let minimums = &self.scales.minimums;
        // SAFETY: by the caller's promise.
        unsafe {
            match F::SCALED {
                // An offset that is added is a minimum of weight −1.
                Scaled::Block => *sum = f32x4_neg(splat(&raw const (*column).sum)),
                Scaled::Pair => {
                    let whole = splat(&raw const (*column).sum);
                    *sum = f32x4_add(*sum, f32x4_mul(minimums[index][half + h], whole));
                }
                Scaled::Group => {
                    let low = splat(&raw const (*column).sums[0]);
                    let high = splat(&raw const (*column).sums[1]);
                    *sum = f32x4_add(*sum, f32x4_mul(minimums[2 * index][half + h], low));
                    *sum = f32x4_add(*sum, f32x4_mul(minimums[2 * index + 1][half + h], high));
                }
            }
        }
    }
}

/// The scaled products of a group of 16 values.
///
/// # Safety
/// As for [`State::block`]; `columns` point to the group's pairs.
#[inline(always)]
unsafe fn products<F: Format, const PHASE: usize, const GROUP: usize, const HALVES: usize, const COLUMNS: usize>(
    block: *const u8,
    section: usize,
    half: usize,
    columns: [*const Pair; COLUMNS],
) -> [[v128; HALVES]; COLUMNS] {
    // SAFETY: the group exists in the block and in every column, by the caller's promise.
    unsafe {
        let mut sums = columns.map(|column| {
            if F::ZERO == 0 {
                return [Sums::new(i32x4_splat(0)); HALVES];
            }
            let negative = splat((&raw const (*column).negative_sums[GROUP]).cast());
            [Sums::new(i32x4_mul(negative, i32x4_splat(F::ZERO))); HALVES]
        });
        for unit in 0..4 {
            let planes: [Planes; HALVES] =
                from_fn(|h| Planes::new(F::RANGE, F::weights::<PHASE, GROUP>(block, section, half + h, unit)));
            for c in 0..COLUMNS {
                for h in 0..HALVES {
                    sums[c][h].add(F::RANGE, planes[h], columns[c], 16 * GROUP + 4 * unit);
                }
            }
        }
        from_fn(|c| {
            let scale = splat(&raw const (*columns[c]).scales[GROUP]);
            from_fn(|h| f32x4_mul(scale, f32x4_convert_i32x4(sums[c][h].total(F::RANGE))))
        })
    }
}

/// # Safety
/// `value` points to an f32.
#[inline(always)]
unsafe fn splat(value: *const f32) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load32_splat(value.cast()) }
}
