//! Vector twins of the scalar products: the same bits, many at a time.

// Sums of a tile are in registers under constant numbers, and several arrays are walked in step.
#![allow(clippy::needless_range_loop)]

mod ahead;
mod blocks32;
mod codebook;
mod decoded;
mod floats;
#[cfg(target_feature = "relaxed-simd")]
pub mod fours;
mod integers;
mod k_quants;
mod panel;
mod tile;
mod unpack;

use super::activations::{GROUP, PAIR, Pair};
use super::scalar::{self, MAXIMUM_MIN};
use super::{Activations, Input, Product, f32_columns, quantised_columns};
use crate::arch::*;
use crate::quant::{Dtype, GROUP_ROWS};
#[cfg(target_feature = "relaxed-simd")]
use integers::Fours;
use integers::{Pairs, Sums};
use panel::Panel;
use tile::{Format, Rows, Shape};

/// Computes a product.
pub(super) fn compute(mut product: Product, input: Input) {
    let (length, columns) = (product.matrix.columns, product.columns.clone());
    let floats = || f32_columns(input, length, &columns);
    match product.matrix.dtype {
        Dtype::F32 => floats::rows::<floats::F32>(&mut product, floats()),
        Dtype::F16 => floats::rows::<floats::F16>(&mut product, floats()),
        Dtype::BF16 => floats::rows::<floats::BF16>(&mut product, floats()),
        _ => {
            let activations = quantised_columns(input, length, &columns);
            #[cfg(target_feature = "relaxed-simd")]
            if fours::preferred() {
                return quantised::<Fours>(&mut product, activations);
            }
            quantised::<Pairs>(&mut product, activations)
        }
    }
}

/// The kernels of a format, and what those that call them need to know of it: so these are compiled once for all formats.
struct Kernels {
    /// Bytes of a block of eight rows, and pairs of groups in it.
    block_bytes: usize,
    pairs: usize,
    /// What small integers are too large by.
    zero: i16,
    column: fn(&[u8], usize, &[Pair]) -> Rows,
    fill: panel::Fill,
    add: panel::Add<1>,
    add_several: panel::Add<{ panel::COLUMNS }>,
}

impl Kernels {
    /// Those of a format, with a way to multiply its weights.
    const fn of<F: Format, S: Sums>() -> Kernels {
        assert!(F::Shape::PAIRS * PAIR == F::DTYPE.block_values());
        Kernels {
            block_bytes: GROUP_ROWS * F::DTYPE.block_bytes(),
            pairs: F::Shape::PAIRS,
            zero: F::ZERO,
            column: tile::column::<F, S>,
            fill: Panel::fill::<F, S>,
            add: Panel::add::<F::Shape, S, 1>,
            add_several: Panel::add::<F::Shape, S, { panel::COLUMNS }>,
        }
    }
}

fn quantised<S: Sums>(product: &mut Product, activations: &Activations) {
    let kernels = match product.matrix.dtype {
        Dtype::Q4_0 => const { Kernels::of::<blocks32::Q4_0, S>() },
        Dtype::Q4_1 => const { Kernels::of::<blocks32::Q4_1, S>() },
        Dtype::Q5_0 => const { Kernels::of::<blocks32::Q5_0, S>() },
        Dtype::Q5_1 => const { Kernels::of::<blocks32::Q5_1, S>() },
        Dtype::Q8_0 => const { Kernels::of::<blocks32::Q8_0, S::Signed>() },
        Dtype::Q2_K => const { Kernels::of::<k_quants::Q2_K, S>() },
        Dtype::Q3_K => const { Kernels::of::<k_quants::Q3_K, S>() },
        Dtype::Q4_K => const { Kernels::of::<k_quants::Q4_K, S>() },
        Dtype::Q5_K => const { Kernels::of::<k_quants::Q5_K, S>() },
        Dtype::Q6_K => const { Kernels::of::<k_quants::Q6_K, S>() },
        Dtype::Q8_K => const { Kernels::of::<k_quants::Q8_K, S::Signed>() },
        Dtype::IQ4_NL => const { Kernels::of::<codebook::IQ4_NL, S::Signed>() },
        Dtype::IQ4_XS => const { Kernels::of::<codebook::IQ4_XS, S::Signed>() },
        Dtype::MXFP4 => const { Kernels::of::<codebook::MXFP4, S>() },
        // Formats without a kernel of their own are decoded block by block.
        dtype => {
            assert!(decoded::takes(dtype), "a format that needs a kernel of its own");
            for row in product.rows.clone() {
                scalar::decoded_row(product, activations, row, |_, block, column, sum| {
                    decoded::add_block(block, column, sum)
                });
            }
            return;
        }
    };
    groups(&kernels, product, activations);
    // The rest of the matrix in scalar code: at most 7 rows.
    let whole = product.matrix.rows / GROUP_ROWS * GROUP_ROWS;
    for row in product.rows.start.max(whole)..product.rows.end {
        scalar::quantised_row(product, activations, row);
    }
}

/// Columns for which unpacking weights into memory pays.
const PANEL_COLUMNS: usize = 3;

/// The whole groups of rows.
fn groups(kernels: &Kernels, product: &mut Product, activations: &Activations) {
    let group_bytes = product.matrix.columns / (kernels.pairs * PAIR) * kernels.block_bytes;
    let (columns, end) = (product.columns.clone(), product.rows.end.min(product.matrix.rows / GROUP_ROWS * GROUP_ROWS));
    let groups = product.rows.start / GROUP_ROWS..end.div_ceil(GROUP_ROWS);
    if columns.len() < PANEL_COLUMNS {
        for group in groups {
            let bytes = &product.matrix.bytes[group * group_bytes..];
            for column in columns.clone() {
                let sums = (kernels.column)(bytes, group_bytes, activations.column(column));
                store(product, group, column, sums);
            }
        }
    } else {
        let mut panel = Panel::new();
        for group in groups {
            let bytes = &product.matrix.bytes[group * group_bytes..];
            panel.multiply(kernels, bytes, group_bytes, activations, columns.clone(), |column, sums| {
                store(product, group, column, sums);
            });
        }
    }
}

/// Writes the results of 8 rows, or of those among them that the product is for.
#[inline]
fn store(product: &mut Product, group: usize, column: usize, sums: Rows) {
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

/// Rounds 32 values to int8, each 16 by their own maximum.
pub(super) fn quantise(source: &[f32; PAIR], pair: &mut Pair) {
    for group in 0..2 {
        let source = &source[GROUP * group..][..GROUP];
        // SAFETY: the four vectors are the 16 values of the slice.
        let values: [v128; 4] = std::array::from_fn(|i| unsafe { v128_load(source.as_ptr().add(4 * i).cast()) });
        let (scale, inverse) = group_scale(values);
        let factor = f32x4_splat(inverse);
        let integers = values.map(|v| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(v, factor))));
        let low = i16x8_narrow_i32x4(integers[0], integers[1]);
        let high = i16x8_narrow_i32x4(integers[2], integers[3]);
        put(pair, group, low, high);
        let sums = i32x4_extadd_pairwise_i16x8(i16x8_add(low, high));
        let sums = i32x4_add(sums, i64x2_shuffle::<1, 0>(sums, sums));
        let sums = [i32x4_extract_lane::<0>(sums) as i16, i32x4_extract_lane::<1>(sums) as i16];
        pair.scales[group] = scale;
        pair.negative_sums[group] = sums.map(|sum| -sum);
        pair.sums[group] = scale * f32::from(sums[0] + sums[1]);
    }
    pair.sum = pair.sums[0] + pair.sums[1];
}

/// See the scalar twin. The vector maximum keeps NaN.
fn group_scale(values: [v128; 4]) -> (f32, f32) {
    let [a, b, c, d] = values.map(|v| f32x4_abs(v));
    let all = f32x4_max(f32x4_max(a, b), f32x4_max(c, d));
    let all = f32x4_max(all, i64x2_shuffle::<1, 0>(all, all));
    let all = f32x4_max(all, i32x4_shuffle::<1, 0, 3, 2>(all, all));
    let maximum = f32x4_extract_lane::<0>(all);
    if maximum < MAXIMUM_MIN { (0.0, 0.0) } else { (maximum / 127.0, 127.0 / maximum) }
}

/// Stores the 16 integers of a group as the kernels read them.
fn put(pair: &mut Pair, group: usize, low: v128, high: v128) {
    let words = &mut pair.words[GROUP * group..][..GROUP];
    let split = |v| i16x8_shuffle::<0, 2, 1, 3, 4, 6, 5, 7>(v, v);
    // SAFETY: the slice has room for 16 words, two vectors.
    unsafe {
        v128_store(words.as_mut_ptr().cast(), split(low));
        v128_store(words.as_mut_ptr().add(8).cast(), split(high));
    }
    #[cfg(target_feature = "relaxed-simd")]
    {
        let bytes = &mut pair.bytes[GROUP * group..][..GROUP];
        // SAFETY: the slice has room for 16 bytes.
        unsafe { v128_store(bytes.as_mut_ptr().cast(), i8x16_narrow_i16x8(low, high)) }
    }
}
