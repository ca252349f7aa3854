//! What `shaders/norm.wgsl` is told.

use super::parameters;

parameters! {
    /// A norm of every `width` values.
    pub struct Norm {
        /// Quads; 1 for the residual stream.
        src: u32,
        src_stride: u32,
        src_residual: u32,
        dst: u32,
        dst_stride: u32,
        dst_residual: u32,
        width: u32,
        /// Words of the weights, or `NONE`.
        weights: u32,
        epsilon: f32,
        /// Whether the result is added to what is there.
        add: u32,
        flag: u32,
        /// Whether the mean is taken off, which an RMS norm is without.
        is_centred: u32,
        /// Words, or `NONE`.
        bias: u32,
        /// Values of weight and bias between those of a run and those of the next.
        step: u32,
    }
}
