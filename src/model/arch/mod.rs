//! The architectures, a page each: what a file says beside the common keys, and a layer as a list of steps.

pub mod gemma2;
pub mod gemma3;
pub mod llama;
pub mod phi3;
pub mod qwen2;
pub mod qwen3;
pub mod smollm3;
