//! Every vector kernel against its scalar twin, bit for bit, in whatever runs this build.

use super::matmul::{self, Activations, Input, Matrix, repack, wants_quantised};
use super::vector;
use crate::program::{KvFormat, WEIGHT_ALIGNMENT};
use crate::quant::random::{Noise, random_rows, set_halves};
use crate::quant::{Dtype, Scales};

#[cfg(all(target_family = "wasm", target_feature = "relaxed-simd"))]
pub use super::matmul::fours;

/// Runs all comparisons; a sentence for each that fails.
pub fn selftest() -> Vec<String> {
    let mut failures = Vec::new();
    #[cfg(all(target_family = "wasm", target_feature = "relaxed-simd"))]
    {
        let preferred = fours::preferred();
        fours::prefer(!preferred);
        compare_all_products(&mut failures);
        fours::prefer(preferred);
    }
    compare_all_products(&mut failures);
    for length in 0..=2 * 16 + 3 {
        compare_vectors(length, &mut failures);
    }
    for width in [1, 4, 8, 20, 36, 64, 72, 80, 128] {
        compare_attention(width, &mut failures);
    }
    for width in [32, 64, 96, 128, 512] {
        compare_integers(width, &mut failures);
    }
    compare_conversions(&mut failures);
    failures
}

fn compare_all_products(failures: &mut Vec<String>) {
    for dtype in Dtype::ALL {
        (0..4).for_each(|seed| compare_products(dtype, seed, failures));
        compare_extremes(dtype, failures);
    }
}

/// Equal to the bit, or both NaN or infinite: what a NaN holds, and whether a half precision NaN stays
/// one, is not promised.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (!a.is_finite() && !b.is_finite())
}

/// The first place where two results differ.
fn check(what: impl Fn() -> String, got: &[f32], expected: &[f32], failures: &mut Vec<String>) {
    if let Some(at) = (0..expected.len()).find(|&at| !same(got[at], expected[at])) {
        failures.push(format!("{}: {:e} instead of {:e} at {at}", what(), got[at], expected[at]));
    }
}

/// Random weights and activations, of shapes around whole groups and tiles.
fn compare_products(dtype: Dtype, seed: u64, failures: &mut Vec<String>) {
    let mut noise = Noise::new(seed + 100);
    let floats = !wants_quantised(dtype);
    let shapes = [(8, 1, 1), (13, 2, 5), (24, 3, 9), (19, 1, 4)];
    let (rows, blocks, columns) = shapes[seed as usize % shapes.len()];
    // Rows of floats may have any length.
    let width = if floats { 37 * blocks + rows % 4 } else { dtype.block_values() * blocks };
    let mut bytes = random_rows(dtype, width, rows, &mut noise);
    repack(dtype, width, &mut bytes, &mut Vec::new());
    let matrix = Matrix { dtype, columns: width, rows, bytes: &bytes };
    let values: Vec<f32> = (0..width * columns).map(|_| noise.normal()).collect();
    for (first, last) in [(0, rows), (1, rows - 1), (rows / 2, rows / 2 + 1)] {
        for skip in [0, columns / 2] {
            compare_product(&matrix, first..last, &values, skip..columns, failures);
        }
    }
}

/// The vector product of some rows and columns against the scalar one.
fn compare_product(
    matrix: &Matrix,
    rows: std::ops::Range<usize>,
    values: &[f32],
    columns: std::ops::Range<usize>,
    failures: &mut Vec<String>,
) {
    let stride = rows.len() + 3;
    let total = values.len() / matrix.columns;
    let (mut fast, mut slow) = (Activations::default(), Activations::default());
    if wants_quantised(matrix.dtype) {
        (fast, slow) = (Activations::new(matrix.columns, total), Activations::new(matrix.columns, total));
        fast.quantise(values, matrix.columns, total);
        slow.quantise_scalar(values, matrix.columns, total);
    }
    let input = |activations| match wants_quantised(matrix.dtype) {
        true => Input::Quantised(activations),
        false => Input::F32(values),
    };
    let (mut got, mut expected) = (vec![1.5; total * stride], vec![1.5; total * stride]);
    matmul::matmul(matrix, rows.start, rows.len(), input(&fast), columns.clone(), &mut got, stride);
    matmul::scalar::matmul(matrix, rows.start, rows.len(), input(&slow), columns.clone(), &mut expected, stride);
    let what = || format!("{} rows {rows:?} columns {columns:?} of {} values", matrix.dtype.name(), matrix.columns);
    check(what, &got, &expected, failures);
}

/// Blocks of one byte repeated, with scales of one, against activations that all round to ±127, and
/// scales that are not finite.
fn compare_extremes(dtype: Dtype, failures: &mut Vec<String>) {
    let (width, rows) = (dtype.block_values().max(64), 8);
    for byte in [0x00, 0x7f, 0x80, 0xff] {
        for value in [1.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            let mut bytes = vec![byte; rows * dtype.row_bytes(width as u64).unwrap_or(0) as usize];
            if dtype == Dtype::F32 {
                bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|b| *b = f32::from(byte).to_le_bytes());
            }
            set_scales(dtype, &mut bytes, 0x3c00);
            repack(dtype, width, &mut bytes, &mut Vec::new());
            let matrix = Matrix { dtype, columns: width, rows, bytes: &bytes };
            let mut values = vec![1.0; 5 * width];
            values.iter_mut().step_by(3).for_each(|v| *v = value);
            compare_product(&matrix, 0..rows, &values, 0..5, failures);
        }
    }
    let mut bytes = vec![0x35; rows * dtype.row_bytes(width as u64).unwrap_or(0) as usize];
    set_scales(dtype, &mut bytes, 0x7e00);
    repack(dtype, width, &mut bytes, &mut Vec::new());
    compare_product(&Matrix { dtype, columns: width, rows, bytes: &bytes }, 0..rows, &vec![1.0; width], 0..1, failures);
}

/// Writes an f16 number to every f16 scale.
fn set_scales(dtype: Dtype, bytes: &mut [u8], half: u16) {
    for block in bytes.chunks_exact_mut(dtype.block_bytes()).filter(|_| wants_quantised(dtype)) {
        set_halves(dtype, block, || half);
        if matches!(dtype.format().scales, Scales::Single) {
            block[..4].copy_from_slice(&1f32.to_le_bytes());
        }
    }
}

/// The functions over slices of one length, at places that are not aligned.
fn compare_vectors(length: usize, failures: &mut Vec<String>) {
    let mut noise = Noise::new(length as u64);
    let a: Vec<f32> = (0..=length).map(|_| 4.0 * noise.normal()).collect();
    let b: Vec<f32> = (0..=length).map(|_| noise.normal()).collect();
    let (a, b) = (&a[1..], &b[1..]);
    let mut halves = vec![0; length];
    vector::scalar::to_f16(b, &mut halves);
    let mut scalars = |name: &str, got: f32, expected: f32| {
        check(|| format!("{name} of {length}"), &[got], &[expected], failures);
    };
    scalars("dot", vector::dot(a, b), vector::scalar::dot(a, b));
    scalars("sum_squares", vector::sum_squares(a), vector::scalar::sum_squares(a));
    scalars("maximum", vector::maximum(a), vector::scalar::maximum(a));
    let mut slices = |name: &str, fast: &dyn Fn(&mut [f32]), slow: &dyn Fn(&mut [f32])| {
        let (mut got, mut expected) = (a.to_vec(), a.to_vec());
        fast(&mut got);
        slow(&mut expected);
        check(|| format!("{name} of {length}"), &got, &expected, failures);
    };
    slices("axpy", &|y| vector::axpy(y, 0.7, b), &|y| vector::scalar::axpy(y, 0.7, b));
    slices("add", &|y| vector::add(y, b), &|y| vector::scalar::add(y, b));
    slices("multiply", &|y| vector::multiply(y, b), &|y| vector::scalar::multiply(y, b));
    slices("scale", &|y| vector::scale(y, 0.7), &|y| vector::scalar::scale(y, 0.7));
    slices("from_f16", &|y| vector::from_f16(&halves, y), &|y| vector::scalar::from_f16(&halves, y));
    slices("exp", &vector::exp, &vector::scalar::exp);
    slices("silu", &vector::silu, &vector::scalar::silu);
    slices("gelu", &vector::gelu, &vector::scalar::gelu);
    slices("softmax", &vector::softmax, &vector::scalar::softmax);
}

/// Queries against keys and weights times values, for each number of rows that share a reading and one more.
fn compare_attention(width: usize, failures: &mut Vec<String>) {
    let mut noise = Noise::new(width as u64);
    let (positions, stride) = (11, 13);
    let mut halves = vec![0; positions * width];
    let values: Vec<f32> = (0..positions * width).map(|_| noise.normal()).collect();
    vector::scalar::to_f16(&values, &mut halves);
    for count in 1..=5 {
        // Not one after the other, and not aligned.
        let rows: Vec<usize> = (0..count).map(|row| 1 + (count - 1 - row) * (width + 3)).collect();
        let query: Vec<f32> = (0..1 + count * (width + 3)).map(|_| noise.normal()).collect();
        let weights: Vec<f32> = (0..count * stride).map(|_| noise.normal()).collect();
        let (mut got, mut expected) = (weights.clone(), weights.clone());
        vector::dots(&halves, width, &query, &rows, 0.3, &mut got, stride);
        vector::scalar::dots(&halves, width, &query, &rows, 0.3, &mut expected, stride);
        check(|| format!("dots of {count} rows of {width}"), &got, &expected, failures);
        let (mut got, mut expected) = (query.clone(), query);
        vector::add_weighted(&halves, width, &weights, stride, &mut got, &rows);
        vector::scalar::add_weighted(&halves, width, &weights, stride, &mut expected, &rows);
        check(|| format!("add_weighted of {count} rows of {width}"), &got, &expected, failures);
    }
}

/// The same of rows of 8-bit integers, and how they are made: of zeros, of the smallest and the largest numbers, and of
/// whatever lies between.
fn compare_integers(width: usize, failures: &mut Vec<String>) {
    use vector::q8_0::{self, scalar};
    let mut noise = Noise::new(width as u64);
    let (positions, stride, bytes) = (11, 13, KvFormat::Q8_0.row_bytes(width));
    let mut rows_kept = vec![0; positions * bytes];
    for (position, row) in rows_kept.chunks_exact_mut(bytes).enumerate() {
        let size = [1.0, 0.0, 1e-40, 1e38, 1e-6][position % 5];
        let values: Vec<f32> = (0..width).map(|i| size * if i % 7 == 3 { 0.5 } else { noise.normal() }).collect();
        let mut expected = row.to_vec();
        q8_0::quantise(&values, row);
        scalar::quantise(&values, &mut expected);
        if row != expected {
            failures.push(format!("{width} values of {size:e} are quantised otherwise"));
        }
    }
    for count in 1..=5 {
        let rows: Vec<usize> = (0..count).map(|row| 1 + (count - 1 - row) * (width + 3)).collect();
        let query: Vec<f32> = (0..1 + count * (width + 3)).map(|_| noise.normal()).collect();
        let weights: Vec<f32> = (0..count * stride).map(|_| noise.normal()).collect();
        let (mut got, mut expected) = (weights.clone(), weights.clone());
        q8_0::dots(&rows_kept, width, &query, &rows, 0.3, &mut got, stride);
        scalar::dots(&rows_kept, width, &query, &rows, 0.3, &mut expected, stride);
        check(|| format!("dots of {count} rows of {width} integers"), &got, &expected, failures);
        let (mut got, mut expected) = (query.clone(), query);
        q8_0::add_weighted(&rows_kept, width, &weights, stride, &mut got, &rows);
        scalar::add_weighted(&rows_kept, width, &weights, stride, &mut expected, &rows);
        check(|| format!("add_weighted of {count} rows of {width} integers"), &got, &expected, failures);
    }
}

/// Every half precision number, and f32 numbers around every rounding border; exponentials over the
/// whole domain and its ends.
fn compare_conversions(failures: &mut Vec<String>) {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let (mut got, mut expected) = (vec![0.0; halves.len()], vec![0.0; halves.len()]);
    vector::from_f16(&halves, &mut got);
    vector::scalar::from_f16(&halves, &mut expected);
    check(|| "from_f16".into(), &got, &expected, failures);
    let mut noise = Noise::new(7);
    let edges = expected.iter().flat_map(|value| [-1i32, 0, 1].map(|d| value.to_bits().wrapping_add_signed(d)));
    let middles = expected.iter().flat_map(|value| [0xfff, 0x1000, 0x1001].map(|d| value.to_bits().wrapping_add(d)));
    let random = (0..100_000).map(|_| noise.word() as u32);
    let values: Vec<f32> = edges.chain(middles).chain(random).map(f32::from_bits).collect();
    let (mut got, mut expected) = (vec![0; values.len()], vec![0; values.len()]);
    vector::to_f16(&values, &mut got);
    vector::scalar::to_f16(&values, &mut expected);
    let nan = |bits: u16| bits & 0x7fff > 0x7c00;
    let differs = |&i: &usize| got[i] != expected[i] && !(nan(got[i]) && nan(expected[i]));
    if let Some(i) = (0..values.len()).find(differs) {
        failures.push(format!("to_f16({:e}): {:x} instead of {:x}", values[i], got[i], expected[i]));
    }
    let mut got: Vec<f32> = (-11_000..=9_000).map(|i| i as f32 * 0.01).collect();
    got.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e-45, -0.0]);
    let mut expected = got.clone();
    vector::exp(&mut got);
    vector::scalar::exp(&mut expected);
    check(|| "exp".into(), &got, &expected, failures);
}

/// A product to be measured: a square matrix times a batch.
pub struct Bench {
    dtype: Dtype,
    size: usize,
    columns: usize,
    bytes: Vec<u8>,
    /// Where the weights begin in `bytes`: at a multiple of 64 in memory, as in a model.
    start: usize,
    values: Vec<f32>,
    activations: Activations,
    dst: Vec<f32>,
}

impl Bench {
    /// Random weights of `size` rows and columns, and a batch of `columns`.
    pub fn new(dtype: Dtype, size: usize, columns: usize) -> Self {
        let mut noise = Noise::new(1);
        let rows = random_rows(dtype, size, size, &mut noise);
        let mut bytes = vec![0; rows.len() + WEIGHT_ALIGNMENT];
        let start = bytes.as_ptr().align_offset(WEIGHT_ALIGNMENT);
        bytes[start..][..rows.len()].copy_from_slice(&rows);
        bytes.truncate(start + rows.len());
        repack(dtype, size, &mut bytes[start..], &mut Vec::new());
        let values: Vec<f32> = (0..size * columns).map(|_| noise.normal()).collect();
        let mut activations = Activations::new(size, columns);
        activations.quantise(&values, size, columns);
        Bench { dtype, size, columns, bytes, start, values, activations, dst: vec![0.0; size * columns] }
    }

    /// Computes the product a number of times, in vector or scalar code.
    pub fn run(&mut self, times: usize, scalar: bool) -> f32 {
        let matrix =
            Matrix { dtype: self.dtype, columns: self.size, rows: self.size, bytes: &self.bytes[self.start..] };
        let product = if scalar { matmul::scalar::matmul } else { matmul::matmul };
        for _ in 0..times {
            let input = match wants_quantised(self.dtype) {
                true => Input::Quantised(&self.activations),
                false => Input::F32(&self.values),
            };
            product(&matrix, 0, self.size, input, 0..self.columns, &mut self.dst, self.size);
        }
        self.dst[0]
    }
}
