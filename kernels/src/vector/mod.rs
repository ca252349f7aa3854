//! Functions over slices that the operations are made of. On wasm they are vector code, elsewhere the
//! scalar truth; both give the same bits (but for what a NaN holds).
//!
//! Half precision numbers are passed as their bits.

pub mod q8_0;
pub mod scalar;
#[cfg(target_family = "wasm")]
mod simd128;
#[cfg(test)]
mod tests;

#[cfg(not(target_family = "wasm"))]
pub use scalar::*;
#[cfg(target_family = "wasm")]
pub use simd128::*;

/// Sums run in this many lanes, so that additions need not wait for each other.
pub const LANES: usize = 16;

/// Whether no value is NaN or infinite: their difference to themselves is not zero.
#[allow(clippy::eq_op)]
pub fn all_finite(values: &[f32]) -> bool {
    let sums = values.chunks(4).fold([0.0f32; 4], |mut sums, chunk| {
        sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += v - v);
        sums
    });
    sums.iter().all(|s| *s == 0.0)
}

/// Constants of the exponential: exp(x) = 2^n · exp(r), where n = round(x / ln 2) and
/// r = x − n · ln 2 in two steps, |r| ≤ ln 2 / 2.
mod exponential {
    /// Below, the result is zero; above, infinite.
    pub const DOMAIN: (f32, f32) = (-104.0, 89.0);
    /// Adding and subtracting it rounds to an integer: 1.5 · 2^23.
    pub const ROUND: f32 = 12_582_912.0;
    /// ln 2 with few enough bits that its product with n is exact, and the rest.
    pub const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    /// Of (exp(r) − 1 − r) / r², highest power first: Cephes' minimax polynomial.
    pub const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1];
}

/// Constants of GELU: u = √(2/π) · (x + 0.044715 x³), gelu = x / (1 + exp(−2u)).
mod gelu {
    pub const CUBE: f32 = 0.044_715;
    /// −2 √(2/π)
    pub const FACTOR: f32 = -1.595_769;
}
