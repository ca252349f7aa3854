//! The truth: every function of the parent, in the order of additions that the vector twins have.

use super::{LANES, exponential, gelu as gelu_constants};
use half::f16;

/// Σ a · b
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a.len().min(b.len()), |i| a[i] * b[i])
}

/// Σ x²
pub fn sum_squares(x: &[f32]) -> f32 {
    sum_of(x.len(), |i| x[i] * x[i])
}

/// y += factor · x
pub fn axpy(y: &mut [f32], factor: f32, x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// y += x
pub fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

/// y *= x
pub fn multiply(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
}

/// y *= factor
pub fn scale(y: &mut [f32], factor: f32) {
    y.iter_mut().for_each(|y| *y *= factor);
}

/// The greatest value, −∞ of none; NaN if there is one.
pub fn maximum(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |maximum, &x| if x > maximum || x.is_nan() { x } else { maximum })
}

/// Half precision to f32.
pub fn from_f16(source: &[u16], dst: &mut [f32]) {
    dst.iter_mut().zip(source).for_each(|(dst, source)| *dst = f16::from_bits(*source).to_f32());
}

/// f32 to half precision, rounded to nearest even; what is too large becomes infinite.
pub fn to_f16(source: &[f32], dst: &mut [u16]) {
    dst.iter_mut().zip(source).for_each(|(dst, source)| *dst = f16::from_f32(*source).to_bits());
}

/// x = exp(x)
pub fn exp(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = exp_one(*x));
}

/// x = x · sigmoid(x)
pub fn silu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x /= 1.0 + exp_one(-*x));
}

/// The tanh approximation of GELU: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
pub fn gelu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| {
        let cubic = *x + gelu_constants::CUBE * (*x * *x * *x);
        *x /= 1.0 + exp_one(gelu_constants::FACTOR * cubic);
    });
}

/// x = exp(x) / Σ exp(x), shifted by the maximum so that nothing overflows. All −∞ gives NaN.
pub fn softmax(x: &mut [f32]) {
    let sum = exp_shifted(x, maximum(x));
    scale(x, 1.0 / sum);
}

/// x = exp(x − shift); returns the sum.
pub fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
    x.iter_mut().for_each(|x| *x = exp_one(*x - shift));
    sum_of(x.len(), |i| x[i])
}

/// The products of queries with keys in half precision, `[position][width]`, times `factor`. Queries begin at `rows` of
/// `query`; the scores of each lie `stride` after those of the one before.
pub fn dots(keys: &[u16], width: usize, query: &[f32], rows: &[usize], factor: f32, scores: &mut [f32], stride: usize) {
    for (index, row) in rows.iter().enumerate() {
        for (key, score) in keys.chunks_exact(width).zip(&mut scores[index * stride..]) {
            // Lane j has every fourth product from j on; lanes are then added in halves.
            let mut lanes = [0.0; 4];
            for (i, (q, k)) in query[*row..][..width].iter().zip(key).enumerate() {
                lanes[i % 4] += q * f16::from_bits(*k).to_f32();
            }
            *score = ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) * factor;
        }
    }
}

/// Adds values in half precision, `[position][width]`, times their weights, one position after the other. Sums begin at
/// `rows` of `sums`; the weights of each lie `stride` after those of the one before.
pub fn add_weighted(values: &[u16], width: usize, weights: &[f32], stride: usize, sums: &mut [f32], rows: &[usize]) {
    for (index, row) in rows.iter().enumerate() {
        let sums = &mut sums[*row..][..width];
        for (value, weight) in values.chunks_exact(width).zip(&weights[index * stride..]) {
            sums.iter_mut().zip(value).for_each(|(sum, value)| *sum += weight * f16::from_bits(*value).to_f32());
        }
    }
}

fn exp_one(x: f32) -> f32 {
    use exponential::*;
    if x.is_nan() {
        return x;
    }
    let x = if x < DOMAIN.0 { DOMAIN.0 } else { x };
    let x = if x > DOMAIN.1 { DOMAIN.1 } else { x };
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN_2.0) - n * LN_2.1;
    let polynomial = POLYNOMIAL.into_iter().reduce(|sum, coefficient| sum * r + coefficient).unwrap_or(0.0);
    let power = (polynomial * (r * r) + r) + 1.0;
    // 2^n in two factors, since n may lie beyond what an exponent holds.
    let half = n as i32 >> 1;
    let two_to = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    power * two_to(half) * two_to(n as i32 - half)
}

/// Σ term(i) for i in 0..length in [`LANES`] lanes: lane j has every sixteenth term from j on; of the
/// remainder each fourth, in the first four. Lanes are then added in halves.
fn sum_of(length: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, fours) = (length & !(LANES - 1), length & !3);
    for at in (0..whole).step_by(LANES) {
        lanes.iter_mut().enumerate().for_each(|(lane, sum)| *sum += term(at + lane));
    }
    for at in (whole..fours).step_by(4) {
        lanes[..4].iter_mut().enumerate().for_each(|(lane, sum)| *sum += term(at + lane));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    (fours..length).fold(lanes[0], |sum, i| sum + term(i))
}
