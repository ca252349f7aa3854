//! What `shaders/expert_sum.wgsl` is told.

use super::parameters;

parameters! {
    /// The sum of what a token's experts gave, by their weights.
    pub struct ExpertSum {
        /// Quads; 1 for the residual stream.
        dst: u32,
        dst_stride: u32,
        dst_residual: u32,
        src: u32,
        src_stride: u32,
        /// Quads of a row.
        quads: u32,
        choice: u32,
        choice_stride: u32,
        used: u32,
        flag: u32,
    }
}
