//! What `shaders/conv.wgsl` is told.

use super::parameters;

/// What an invocation has room for.
pub mod bounds {
    crate::gpu::kernels::constants! {
        /// Tokens before each that a convolution sees at most.
        TAPS_MAX = 8;
    }
}

pub use bounds::TAPS_MAX;

parameters! {
    /// A short convolution of a slot's channels.
    pub struct Conv {
        /// Quads.
        slot: u32,
        slot_stride: u32,
        /// Quads of a row.
        quads: u32,
        /// Tokens before each that it sees.
        taps: u32,
        /// Words: `taps` + 1 values for each channel, or `NONE`.
        kernel: u32,
        /// Words of a value for each channel, or `NONE`.
        bias: u32,
    }
}
