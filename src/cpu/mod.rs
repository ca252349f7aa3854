//! The CPU backend: scalar truth for every op, and its SIMD128 twins.

pub mod matmul;
pub mod vector;
