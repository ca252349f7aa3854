//! What the processor computes with: block formats, functions over slices, and products of a matrix and a batch of
//! columns. It knows nothing of models, files or errors of the engine.
//!
//! A crate of its own, because these loops are compiled for speed, and all that is around them for size.

// Rust has not settled the names of vector instructions for 64-bit memory.
#![cfg_attr(target_arch = "wasm64", feature(simd_wasm64))]

#[cfg(target_family = "wasm")]
mod arch;
pub mod matmul;
pub mod quant;
pub mod vector;
