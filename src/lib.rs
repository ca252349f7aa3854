//! wasm-chord: language models in the browser.
//!
//! Data flows one way: URL → range → pages → header and layers → kernels → logits → token → text.
//! Imports point one way too; ARCHITECTURE.md has the list.

pub mod answer;
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
mod rope;
pub mod sample;
pub mod state;
pub mod template;
pub mod tokenizer;
#[cfg(feature = "gpu")]
pub mod trust;
#[cfg(target_family = "wasm")]
mod web;

pub use chord_kernels::quant;
pub use error::{ChordError, ErrorCode, Result};
