//! The vector instructions of whichever wasm this is built for.

#[cfg(target_arch = "wasm32")]
pub use core::arch::wasm32::*;
#[cfg(target_arch = "wasm64")]
pub use core::arch::wasm64::*;
