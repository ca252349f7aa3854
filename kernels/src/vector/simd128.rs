//! Vector twins of the scalar functions: the same bits (but for what a NaN holds).

use super::{LANES, exponential, gelu as gelu_constants, scalar};
use crate::arch::*;
use std::array::from_fn;
use std::slice::ChunksExact;

/// Σ a · b
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    // SAFETY: `sum_of` asks for places of which four values exist.
    sum_of(length, |i| unsafe { f32x4_mul(load(a, i), load(b, i)) }, |i| a[i] * b[i])
}

/// Σ x²
pub fn sum_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

/// y += factor · x
pub fn axpy(y: &mut [f32], factor: f32, x: &[f32]) {
    let splat = f32x4_splat(factor);
    let rest = zip(y, x, |y, x| f32x4_add(y, f32x4_mul(splat, x)));
    scalar::axpy(&mut y[rest..], factor, &x[rest..]);
}

/// y += x
pub fn add(y: &mut [f32], x: &[f32]) {
    let rest = zip(y, x, |y, x| f32x4_add(y, x));
    scalar::add(&mut y[rest..], &x[rest..]);
}

/// y *= x
pub fn multiply(y: &mut [f32], x: &[f32]) {
    let rest = zip(y, x, |y, x| f32x4_mul(y, x));
    scalar::multiply(&mut y[rest..], &x[rest..]);
}

/// y *= factor
pub fn scale(y: &mut [f32], factor: f32) {
    let splat = f32x4_splat(factor);
    map(y, |y| f32x4_mul(y, splat));
}

/// The greatest value, −∞ of none; NaN if there is one.
pub fn maximum(x: &[f32]) -> f32 {
    let mut all = f32x4_splat(f32::NEG_INFINITY);
    let fours = x.len() & !3;
    for i in (0..fours).step_by(4) {
        // SAFETY: the slice has four values from `i` on.
        all = f32x4_max(all, unsafe { load(x, i) });
    }
    let mut lanes = [0.0; 4];
    // SAFETY: the array has four values.
    unsafe { store(&mut lanes, 0, all) };
    let rest = scalar::maximum(&x[fours..]);
    scalar::maximum(&[scalar::maximum(&lanes), rest])
}

/// Half precision to f32.
pub fn from_f16(source: &[u16], dst: &mut [f32]) {
    let fours = source.len().min(dst.len()) & !3;
    for i in (0..fours).step_by(4) {
        // SAFETY: both slices have four values from `i` on.
        unsafe { store(dst, i, load_f16(source.as_ptr().add(i), half_constants())) };
    }
    scalar::from_f16(&source[fours..], &mut dst[fours..]);
}

/// f32 to half precision, rounded to nearest even; what is too large becomes infinite.
pub fn to_f16(source: &[f32], dst: &mut [u16]) {
    let fours = source.len().min(dst.len()) & !3;
    for i in (0..fours).step_by(4) {
        // SAFETY: both slices have four values from `i` on.
        unsafe {
            let bits = half_bits(load(source, i));
            v128_store64_lane::<0>(u16x8_narrow_i32x4(bits, bits), dst.as_mut_ptr().add(i).cast());
        }
    }
    scalar::to_f16(&source[fours..], &mut dst[fours..]);
}

/// The products of queries with keys in half precision, `[position][width]`, times `factor`. Queries begin at `rows` of
/// `query`; the scores of each lie `stride` after those of the one before. Keys are finite.
pub fn dots(keys: &[u16], width: usize, query: &[f32], rows: &[usize], factor: f32, scores: &mut [f32], stride: usize) {
    if !width.is_multiple_of(4) {
        return scalar::dots(keys, width, query, rows, factor, scores, stride);
    }
    for (four, scores) in rows.chunks(4).zip(scores.chunks_mut(4 * stride)) {
        let keys = keys.chunks_exact(width);
        // As many sums at a time as there are registers for.
        match *four {
            [a] => dots_of::<1, 8>(keys, query, [a], factor, scores, stride),
            [a, b] => dots_of::<2, 4>(keys, query, [a, b], factor, scores, stride),
            [a, b, c] => dots_of::<3, 2>(keys, query, [a, b, c], factor, scores, stride),
            [a, b, c, d] => dots_of::<4, 2>(keys, query, [a, b, c, d], factor, scores, stride),
            _ => {}
        }
    }
}

/// [`dots`] of `N` queries, `P` keys at a time.
#[inline(never)]
fn dots_of<const N: usize, const P: usize>(
    mut keys: ChunksExact<u16>,
    query: &[f32],
    rows: [usize; N],
    factor: f32,
    scores: &mut [f32],
    stride: usize,
) {
    let width = keys.clone().next().map_or(0, <[u16]>::len);
    let queries = rows.map(|row| &query[row..][..width]);
    let mut at = 0;
    while keys.len() >= P {
        dots_at::<N, P>(from_fn(|_| keys.next().unwrap_or_default()), queries, factor, scores, stride, at);
        at += P;
    }
    for key in keys {
        dots_at([key], queries, factor, scores, stride, at);
        at += 1;
    }
}

/// The products of queries and keys of the same length, a multiple of four, of which the first key is at position `at`.
#[inline(always)]
fn dots_at<const N: usize, const P: usize>(
    keys: [&[u16]; P],
    queries: [&[f32]; N],
    factor: f32,
    scores: &mut [f32],
    stride: usize,
    at: usize,
) {
    let length = queries[0].len();
    assert!(keys.iter().all(|key| key.len() == length), "keys are as long as queries");
    assert!(queries.iter().all(|query| query.len() == length), "all queries have one length");
    let constants = half_constants();
    let mut sums = [[f32x4_splat(0.0); N]; P];
    for i in (0..length & !3).step_by(4) {
        // SAFETY: all rows have four values from `i` on.
        let key = keys.map(|key| unsafe { load_finite_f16(key.as_ptr().add(i), constants) });
        for n in 0..N {
            // SAFETY: as before.
            let query = unsafe { load(queries[n], i) };
            for p in 0..P {
                sums[p][n] = f32x4_add(sums[p][n], f32x4_mul(query, key[p]));
            }
        }
    }
    for (p, sums) in sums.into_iter().enumerate() {
        for (n, sum) in sums.into_iter().enumerate() {
            scores[n * stride + at + p] = sum_in_halves(sum) * factor;
        }
    }
}

/// The sum of four lanes, added in halves.
#[inline(always)]
pub(super) fn sum_in_halves(lanes: v128) -> f32 {
    let halves = f32x4_add(lanes, i64x2_shuffle::<1, 0>(lanes, lanes));
    f32x4_extract_lane::<0>(halves) + f32x4_extract_lane::<1>(halves)
}

/// Adds values in half precision, `[position][width]`, times their weights, one position after the other. Sums begin at
/// `rows` of `sums`; the weights of each lie `stride` after those of the one before. Values are finite.
pub fn add_weighted(values: &[u16], width: usize, weights: &[f32], stride: usize, sums: &mut [f32], rows: &[usize]) {
    if !width.is_multiple_of(4) {
        return scalar::add_weighted(values, width, weights, stride, sums, rows);
    }
    for (four, weights) in rows.chunks(4).zip(weights.chunks(4 * stride)) {
        match *four {
            [a] => add_weighted_of::<1, 8>(values, width, weights, stride, sums, [a]),
            [a, b] => add_weighted_of::<2, 4>(values, width, weights, stride, sums, [a, b]),
            [a, b, c] => add_weighted_of::<3, 2>(values, width, weights, stride, sums, [a, b, c]),
            [a, b, c, d] => add_weighted_of::<4, 2>(values, width, weights, stride, sums, [a, b, c, d]),
            _ => {}
        }
    }
}

/// [`add_weighted`] to `N` sums, of which `V` vectors stay in registers while the values pass.
#[inline(never)]
fn add_weighted_of<const N: usize, const V: usize>(
    values: &[u16],
    width: usize,
    weights: &[f32],
    stride: usize,
    sums: &mut [f32],
    rows: [usize; N],
) {
    let positions = values.len() / width;
    let weights: [&[f32]; N] = from_fn(|n| &weights[n * stride..][..positions]);
    let whole = width / (4 * V) * (4 * V);
    for i in (0..whole).step_by(4 * V) {
        add_weighted_at::<N, V>(values, width, weights, sums, rows.map(|row| row + i), i);
    }
    for i in (whole..width).step_by(4) {
        add_weighted_at::<N, 1>(values, width, weights, sums, rows.map(|row| row + i), i);
    }
}

/// [`add_weighted`] of `V` vectors from value `i` of each position on, to sums that begin at `rows`.
#[inline(always)]
fn add_weighted_at<const N: usize, const V: usize>(
    values: &[u16],
    width: usize,
    weights: [&[f32]; N],
    sums: &mut [f32],
    rows: [usize; N],
    i: usize,
) {
    let constants = half_constants();
    // SAFETY: the slice has `4 V` values.
    let mut all: [[v128; V]; N] = rows.map(|row| from_fn(|v| unsafe { load(&sums[row..][..4 * V], 4 * v) }));
    for (position, value) in values.chunks_exact(width).enumerate() {
        let value = &value[i..][..4 * V];
        // SAFETY: the slice has `4 V` values.
        let value: [v128; V] = from_fn(|v| unsafe { load_finite_f16(value.as_ptr().add(4 * v), constants) });
        for (all, weights) in all.iter_mut().zip(weights) {
            let weight = f32x4_splat(weights[position]);
            for (sum, value) in all.iter_mut().zip(value) {
                *sum = f32x4_add(*sum, f32x4_mul(weight, value));
            }
        }
    }
    for (row, all) in rows.into_iter().zip(all) {
        let sums = &mut sums[row..][..4 * V];
        // SAFETY: the slice has `4 V` values.
        all.into_iter().enumerate().for_each(|(v, sum)| unsafe { store(sums, 4 * v, sum) });
    }
}

/// x = exp(x)
pub fn exp(x: &mut [f32]) {
    map(x, exp_four);
}

/// x = x · sigmoid(x)
pub fn silu(x: &mut [f32]) {
    let one = f32x4_splat(1.0);
    map(x, |x| f32x4_div(x, f32x4_add(one, exp_four(f32x4_neg(x)))));
}

/// The tanh approximation of GELU: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
pub fn gelu(x: &mut [f32]) {
    let (one, cube) = (f32x4_splat(1.0), f32x4_splat(gelu_constants::CUBE));
    let factor = f32x4_splat(gelu_constants::FACTOR);
    map(x, |x| {
        let cubic = f32x4_add(x, f32x4_mul(cube, f32x4_mul(f32x4_mul(x, x), x)));
        f32x4_div(x, f32x4_add(one, exp_four(f32x4_mul(factor, cubic))))
    });
}

/// x = exp(x) / Σ exp(x), shifted by the maximum so that nothing overflows. All −∞ gives NaN.
pub fn softmax(x: &mut [f32]) {
    let sum = exp_shifted(x, maximum(x));
    scale(x, 1.0 / sum);
}

/// x = exp(x − shift); returns the sum.
pub fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
    let splat = f32x4_splat(shift);
    map(x, |x| exp_four(f32x4_sub(x, splat)));
    // SAFETY: `sum_of` asks for places of which four values exist.
    sum_of(x.len(), |i| unsafe { load(x, i) }, |i| x[i])
}

/// What [`load_f16`] needs: the bits that are taken, and the factors for the exponent.
#[inline(always)]
pub fn half_constants() -> [v128; 3] {
    let power = |exponent: i32| f32x4_splat(f32::from_bits(((exponent + 127) << 23) as u32));
    [i32x4_splat(0x8fff_e000_u32 as i32), power(112), power(-112)]
}

/// Four half precision numbers. Shifted into place their exponents are 112 short; the factor is
/// split so that only infinity and NaN overflow on the way, and both become infinity.
///
/// # Safety
/// `source` points to four of them; it need not be aligned.
#[inline(always)]
pub unsafe fn load_f16(source: *const u16, [bits, up, down]: [v128; 3]) -> v128 {
    // SAFETY: by the caller's promise.
    let short = v128_and(i32x4_shl(unsafe { i32x4_load_extend_i16x4(source.cast()) }, 13), bits);
    f32x4_mul(f32x4_mul(f32x4_mul(short, up), up), down)
}

/// Four half precision numbers that are finite; see [`load_f16`].
///
/// # Safety
/// `source` points to four of them; it need not be aligned.
#[inline(always)]
unsafe fn load_finite_f16(source: *const u16, [bits, up, _]: [v128; 3]) -> v128 {
    // SAFETY: by the caller's promise.
    let short = v128_and(i32x4_shl(unsafe { i32x4_load_extend_i16x4(source.cast()) }, 13), bits);
    f32x4_mul(short, up)
}

/// The bits of half precision numbers, in the low half of each lane.
#[inline(always)]
fn half_bits(x: v128) -> v128 {
    let magnitude = v128_and(x, i32x4_splat(0x7fff_ffff));
    let sign = v128_and(u32x4_shr(x, 16), i32x4_splat(0x8000));
    // Rebias the exponent and round the 13 bits that fall away to nearest even.
    let odd = v128_and(u32x4_shr(magnitude, 13), i32x4_splat(1));
    let bias = i32x4_splat(0x0fff - (112 << 23));
    let normal = u32x4_shr(i32x4_add(i32x4_add(magnitude, bias), odd), 13);
    // Adding 0.5, whose last place is the smallest half precision number, rounds subnormal results.
    let half = f32x4_splat(0.5);
    let subnormal = i32x4_sub(f32x4_add(magnitude, half), half);
    let finite = v128_bitselect(subnormal, normal, i32x4_lt(magnitude, i32x4_splat(113 << 23)));
    let special =
        v128_bitselect(i32x4_splat(0x7e00), i32x4_splat(0x7c00), i32x4_gt(magnitude, i32x4_splat(0x7f80_0000)));
    let large = i32x4_gt(magnitude, i32x4_splat(((127 + 16) << 23) - 1));
    v128_or(v128_bitselect(special, finite, large), sign)
}

/// See the scalar twin, of which this is every step. Vector minimum and maximum keep NaN.
#[inline(always)]
fn exp_four(x: v128) -> v128 {
    use exponential::*;
    let splat = |value| f32x4_splat(value);
    let x = f32x4_min(f32x4_max(x, splat(DOMAIN.0)), splat(DOMAIN.1));
    let scaled = f32x4_mul(x, splat(std::f32::consts::LOG2_E));
    let n = f32x4_sub(f32x4_add(scaled, splat(ROUND)), splat(ROUND));
    let r = f32x4_sub(f32x4_sub(x, f32x4_mul(n, splat(LN_2.0))), f32x4_mul(n, splat(LN_2.1)));
    let mut polynomial = splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        polynomial = f32x4_add(f32x4_mul(polynomial, r), splat(*coefficient));
    }
    let power = f32x4_add(f32x4_add(f32x4_mul(polynomial, f32x4_mul(r, r)), r), splat(1.0));
    let n = i32x4_trunc_sat_f32x4(n);
    let half = i32x4_shr(n, 1);
    let two_to = |n| i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23);
    f32x4_mul(f32x4_mul(power, two_to(half)), two_to(i32x4_sub(n, half)))
}

/// Applies a function to every value; the last few are done in a vector of their own.
#[inline(always)]
fn map(x: &mut [f32], function: impl Fn(v128) -> v128) {
    let fours = x.len() & !3;
    for i in (0..fours).step_by(4) {
        // SAFETY: the slice has four values from `i` on.
        unsafe { store(x, i, function(load(x, i))) };
    }
    let rest = &mut x[fours..];
    let mut last = [0.0; 4];
    last[..rest.len()].copy_from_slice(rest);
    // SAFETY: the array has four values.
    let result = function(unsafe { load(&last, 0) });
    // SAFETY: as before.
    unsafe { store(&mut last, 0, result) };
    rest.copy_from_slice(&last[..rest.len()]);
}

/// y = function(y, x) for whole vectors; returns where the rest begins.
#[inline(always)]
fn zip(y: &mut [f32], x: &[f32], function: impl Fn(v128, v128) -> v128) -> usize {
    let fours = y.len().min(x.len()) & !3;
    for i in (0..fours).step_by(4) {
        // SAFETY: both slices have four values from `i` on.
        unsafe { store(y, i, function(load(y, i), load(x, i))) };
    }
    fours
}

/// See the scalar twin: four vectors are the lanes. `four` is called with places below `length & !3`.
#[inline(always)]
fn sum_of(length: usize, four: impl Fn(usize) -> v128, one: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [f32x4_splat(0.0); LANES / 4];
    let (whole, fours) = (length & !(LANES - 1), length & !3);
    for at in (0..whole).step_by(LANES) {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = f32x4_add(*sum, four(at + 4 * i));
        }
    }
    for at in (whole..fours).step_by(4) {
        sums[0] = f32x4_add(sums[0], four(at));
    }
    let [a, b, c, d] = sums;
    let all = f32x4_add(f32x4_add(a, c), f32x4_add(b, d));
    let all = f32x4_add(all, i64x2_shuffle::<1, 0>(all, all));
    let sum = f32x4_extract_lane::<0>(all) + f32x4_extract_lane::<1>(all);
    (fours..length).fold(sum, |sum, i| sum + one(i))
}

/// # Safety
/// The slice has four values from `i` on.
#[inline(always)]
pub(super) unsafe fn load(x: &[f32], i: usize) -> v128 {
    // SAFETY: by the caller's promise.
    unsafe { v128_load(x.as_ptr().add(i).cast()) }
}

/// # Safety
/// The slice has four values from `i` on.
#[inline(always)]
pub(super) unsafe fn store(x: &mut [f32], i: usize, value: v128) {
    // SAFETY: by the caller's promise.
    unsafe { v128_store(x.as_mut_ptr().add(i).cast(), value) }
}
