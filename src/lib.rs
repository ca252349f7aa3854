//! wasm-chord: language models in the browser.
//!
//! Data flows one way: URL → range → pages → header and layers → kernels → logits → token → text.
//! Imports point one way too: `web → engine → trust, model, pager, gguf, template, tokenizer, sample → cpu |
//! gpu → exec, state, answer, program, quant → error`.

// Rust has not settled the names of vector instructions for 64-bit memory.
#![cfg_attr(target_arch = "wasm64", feature(simd_wasm64))]

pub mod answer;
#[cfg(target_family = "wasm")]
mod arch;
pub mod constrain;
pub mod cpu;
pub mod engine;
pub mod error;
pub mod exec;
pub mod gguf;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod matcher;
pub mod model;
pub mod pager;
pub mod program;
pub mod quant;
mod rope;
pub mod sample;
pub mod state;
pub mod template;
pub mod tokenizer;
#[cfg(feature = "gpu")]
pub mod trust;
#[cfg(target_family = "wasm")]
mod web;

pub use error::{ChordError, ErrorCode, Result};
