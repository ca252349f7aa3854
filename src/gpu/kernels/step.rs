//! What all kernels of a pass are told: `Step` of `shaders/shared/bindings.wgsl`.

use super::parameters;

parameters! {
    /// Where the batch stands, and the draw of a token.
    pub struct Step {
        /// Position of the first token in the sequence.
        position: u32,
        tokens: u32,
        /// Row of the residual stream that the first token has.
        row: u32,
        /// Workgroups that share the positions of one attention head.
        splits: u32,
        /// Candidates of the draw.
        top_k: u32,
        inverse_temperature: f32,
        top_p: f32,
        min_p: f32,
        random: f32,
        /// Positions that have keys when the batch attends.
        positions: u32,
    }
}
