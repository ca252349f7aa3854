//! The CPU backend: scalar truth for every op, and its SIMD128 twins.

#[cfg(target_family = "wasm")]
mod arch;
pub mod matmul;
#[cfg(any(test, feature = "selftest"))]
mod random;
#[cfg(feature = "selftest")]
pub mod selftest;
pub mod vector;
