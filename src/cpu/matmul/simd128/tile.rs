//! The one shape of every quantised product: an interleaved group of 8 rows times a few columns, block
//! after block. Formats say how their weights and scales unpack, the loops are here.

use super::super::Product;
use super::super::activations::{Activations, PAIR, Pair};
use super::super::layout::{GROUP_ROWS, row_bytes};
use super::integers::{Sums, Weights};
use super::unpack::{Constants, nibble_mask};
use crate::cpu::arch::*;
use crate::quant::Dtype;
use std::array::from_fn;
use std::mem::offset_of;

/// A block format, interleaved. A block is `SECTIONS · PHASES` pairs of groups of 16 values: within a
/// section, phases take different bits of the same bytes. Rows 0 to 3 of the group are half 0, rows
/// 4 to 7 half 1.
pub trait Format {
    const DTYPE: Dtype;
    const SECTIONS: usize = 1;
    const PHASES: usize = 1;
    /// Whether weights are signed bytes, rather than small integers from 0 on.
    const SIGNED: bool = false;
    /// What small integers are too large by.
    const ZERO: i16 = 0;
    /// How many values share an integer scale: 32, 16, or all of the block's.
    const SCALED: Scaled = Scaled::Block;
    /// Whether the format has minimums, or offsets.
    const MINIMUMS: bool = false;

    /// What [`Format::weights`] takes from [`Constants::own`].
    fn constants() -> [v128; 4] {
        [nibble_mask(); 4]
    }

    /// Four weights of four rows: those from value `16 · GROUP + 4 · unit` on of pair
    /// `section · PHASES + PHASE`.
    ///
    /// # Safety
    /// `block` points to a whole interleaved block; `section`, `half` and `unit` are in range.
    unsafe fn weights<const PHASE: usize, const GROUP: usize>(
        k: &Constants,
        block: *const u8,
        section: usize,
        half: usize,
        unit: usize,
    ) -> Weights;

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

/// What an integer scale applies to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scaled {
    Block,
    Pair,
    Group,
}

/// Integer scales and minimums of a block, for each pair or group: of rows 0 to 3 and 4 to 7.
pub struct IntegerScales {
    /// As 16-bit integers, twice for each row.
    pub scales: [[v128; 2]; 16],
    /// As f32.
    pub minimums: [[v128; 2]; 16],
}

/// Columns that one decoding of the weights serves.
const COLUMNS: usize = 4;

/// The product of group number `group` with all columns of the product.
pub fn group<F: Format, S: Sums>(product: &mut Product, activations: &Activations, group: usize) {
    let group_bytes = GROUP_ROWS * row_bytes(F::DTYPE, product.matrix.columns);
    let blocks = &product.matrix.bytes[group * group_bytes..][..group_bytes];
    let mut column = product.columns.start;
    while column < product.columns.end {
        if product.columns.end - column >= COLUMNS {
            let columns = from_fn(|i| activations.column(column + i));
            let sums = if F::PHASES > 2 {
                // So much unpacking leaves too few registers for eight rows.
                let low = tile::<F, S, 0, 1, COLUMNS>(blocks, columns);
                let high = tile::<F, S, 1, 2, COLUMNS>(blocks, columns);
                from_fn(|i| [low[i][0], high[i][1]])
            } else {
                tile::<F, S, 0, 2, COLUMNS>(blocks, columns)
            };
            for (i, sums) in sums.into_iter().enumerate() {
                store(product, group, column + i, sums);
            }
            column += COLUMNS;
        } else {
            let [sums] = tile::<F, S, 0, 2, 1>(blocks, [activations.column(column)]);
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

/// Halves `FIRST` to `LAST` (excluded) of 8 rows times `COLUMNS` columns.
#[inline(never)]
fn tile<F: Format, S: Sums, const FIRST: usize, const LAST: usize, const COLUMNS: usize>(
    blocks: &[u8],
    columns: [&[Pair]; COLUMNS],
) -> [Rows; COLUMNS] {
    let block_bytes = GROUP_ROWS * F::DTYPE.block_bytes();
    let pairs = F::SECTIONS * F::PHASES;
    assert_eq!(pairs * PAIR, F::DTYPE.block_values());
    let count = blocks.len() / block_bytes;
    assert!(columns.iter().all(|column| column.len() == count * pairs), "columns as long as the rows");
    let mut tile = Tile::<FIRST, LAST, COLUMNS>::new(Constants::new(F::constants()));
    // SAFETY: there are `count` blocks, and as many times `pairs` pairs in each column.
    unsafe {
        for index in 0..count {
            let columns = columns.map(|column| column.as_ptr());
            tile.block::<F, S>(place(blocks.as_ptr(), index * block_bytes), places(columns, index * pairs));
        }
    }
    tile.sums
}

/// Rows 0 to 3 of a group, and rows 4 to 7.
pub type Rows = [v128; 2];

/// Sums of a tile; `products` and `minimums` those of the current block.
struct Tile<const FIRST: usize, const LAST: usize, const COLUMNS: usize> {
    sums: [Rows; COLUMNS],
    products: [Rows; COLUMNS],
    minimums: [Rows; COLUMNS],
    scales: IntegerScales,
    constants: Constants,
}

impl<const FIRST: usize, const LAST: usize, const COLUMNS: usize> Tile<FIRST, LAST, COLUMNS> {
    #[inline(always)]
    fn new(constants: Constants) -> Self {
        let zero = [f32x4_splat(0.0); 2];
        let sums = [zero; COLUMNS];
        let scales = IntegerScales { scales: [zero; 16], minimums: [zero; 16] };
        Tile { sums, products: sums, minimums: sums, scales, constants }
    }

    /// Adds the products of a block.
    ///
    /// # Safety
    /// `block` points to an interleaved block of the format, `columns` to as many pairs as it has.
    #[inline(always)]
    unsafe fn block<F: Format, S: Sums>(&mut self, block: *const u8, columns: [*const Pair; COLUMNS]) {
        self.products = [[f32x4_splat(0.0); 2]; COLUMNS];
        self.minimums = self.products;
        // SAFETY: all pointers as the caller promises; sections and phases within the block.
        unsafe {
            F::integer_scales(block, &mut self.scales);
            for section in 0..F::SECTIONS {
                self.pair::<F, S, 0>(block, section, columns);
                if F::PHASES > 1 {
                    self.pair::<F, S, 1>(block, section, columns);
                }
                if F::PHASES > 2 {
                    self.pair::<F, S, 2>(block, section, columns);
                    self.pair::<F, S, 3>(block, section, columns);
                }
            }
            for half in FIRST..LAST {
                let scale = F::scale(&self.constants, block, half);
                let minimum = F::minimum(&self.constants, block, half);
                for column in 0..COLUMNS {
                    let sum = &mut self.sums[column][half];
                    *sum = f32x4_add(*sum, f32x4_mul(scale, self.products[column][half]));
                    if F::MINIMUMS {
                        *sum = f32x4_sub(*sum, f32x4_mul(minimum, self.minimums[column][half]));
                    }
                }
            }
        }
    }

    /// Adds the products of a pair of groups, in the order of the scalar twin.
    ///
    /// # Safety
    /// As for [`Tile::block`].
    #[inline(always)]
    unsafe fn pair<F: Format, S: Sums, const PHASE: usize>(
        &mut self,
        block: *const u8,
        section: usize,
        columns: [*const Pair; COLUMNS],
    ) {
        let index = section * F::PHASES + PHASE;
        // SAFETY: the pair exists in the block and in every column, by the caller's promise.
        unsafe {
            let mut columns = places(columns, section * F::PHASES);
            for column in &mut columns {
                *column = column.add(PHASE);
            }
            let scales = match F::SCALED {
                Scaled::Block => [None; 2],
                Scaled::Pair => [Some(self.scales.scales[index]); 2],
                Scaled::Group => [Some(self.scales.scales[2 * index]), Some(self.scales.scales[2 * index + 1])],
            };
            let low =
                products::<F, S, PHASE, 0, FIRST, LAST, COLUMNS>(&self.constants, block, section, columns, scales[0]);
            let high =
                products::<F, S, PHASE, 1, FIRST, LAST, COLUMNS>(&self.constants, block, section, columns, scales[1]);
            for column in 0..COLUMNS {
                for half in FIRST..LAST {
                    let sum = &mut self.products[column][half];
                    *sum = f32x4_add(*sum, f32x4_add(low[column][half], high[column][half]));
                }
                if F::MINIMUMS {
                    self.add_minimums::<F>(index, column, columns[column]);
                }
            }
        }
    }

    /// # Safety
    /// `pair` points to a pair.
    #[inline(always)]
    unsafe fn add_minimums<F: Format>(&mut self, index: usize, column: usize, pair: *const Pair) {
        let (sums, minimums) = (&mut self.minimums[column], &self.scales.minimums);
        // SAFETY: by the caller's promise.
        unsafe {
            let whole = splat(pair, offset_of!(Pair, sum));
            match F::SCALED {
                // An offset that is added is a minimum of weight −1.
                Scaled::Block => *sums = [f32x4_neg(whole); 2],
                Scaled::Pair => add_scaled(sums, &minimums[index], [whole; 2]),
                Scaled::Group => {
                    add_scaled(sums, &minimums[2 * index], [splat(pair, offset_of!(Pair, sums)); 2]);
                    add_scaled(sums, &minimums[2 * index + 1], [splat(pair, offset_of!(Pair, sums) + 4); 2]);
                }
            }
        }
    }
}

/// sums += scales · values
#[inline(always)]
fn add_scaled(sums: &mut Rows, scales: &Rows, values: Rows) {
    for half in 0..2 {
        sums[half] = f32x4_add(sums[half], f32x4_mul(scales[half], values[half]));
    }
}

/// The scaled products of a group of 16 values.
///
/// # Safety
/// As for [`Tile::block`]; `columns` point to the group's pairs.
#[inline(always)]
unsafe fn products<
    F: Format,
    S: Sums,
    const PHASE: usize,
    const GROUP: usize,
    const FIRST: usize,
    const LAST: usize,
    const COLUMNS: usize,
>(
    k: &Constants,
    block: *const u8,
    section: usize,
    columns: [*const Pair; COLUMNS],
    scales: Option<Rows>,
) -> [Rows; COLUMNS] {
    // SAFETY: the group exists in the block and in every column, by the caller's promise.
    unsafe {
        let mut sums = [[S::new(i16x8_splat(0), 0); 2]; COLUMNS];
        for (sums, column) in sums.iter_mut().zip(columns) {
            let negative = splat(column, offset_of!(Pair, negative_sums) + 4 * GROUP);
            *sums = [S::new(negative, F::ZERO); 2];
        }
        for unit in 0..4 {
            for half in FIRST..LAST {
                let weights = F::weights::<PHASE, GROUP>(k, block, section, half, unit);
                for (sums, column) in sums.iter_mut().zip(columns) {
                    sums[half].add(weights, column, 16 * GROUP + 4 * unit);
                }
            }
        }
        let mut products = [[f32x4_splat(0.0); 2]; COLUMNS];
        for column in 0..COLUMNS {
            let scale = splat(columns[column], offset_of!(Pair, scales) + 4 * GROUP);
            for half in FIRST..LAST {
                let total = sums[column][half].total(scales.map(|scales| scales[half]));
                products[column][half] = f32x4_mul(scale, f32x4_convert_i32x4(total));
            }
        }
        products
    }
}

/// `bytes` further on. Compilers rewrite pointers that advance with a loop, and lose on the way that
/// constant offsets from them do not wrap around, so that loads cannot have the offsets in themselves:
/// a fifth of all instructions. What was a number is left alone.
///
/// # Safety
/// The result lies within what `from` points to.
#[inline(always)]
pub unsafe fn place<T>(from: *const T, bytes: usize) -> *const T {
    std::ptr::with_exposed_provenance(from.expose_provenance() + bytes)
}

/// The pairs that are `index` further on.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn places<const COLUMNS: usize>(columns: [*const Pair; COLUMNS], index: usize) -> [*const Pair; COLUMNS] {
    let mut result = columns;
    for column in &mut result {
        // SAFETY: by the caller's promise.
        *column = unsafe { place(*column, index * size_of::<Pair>()) };
    }
    result
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
