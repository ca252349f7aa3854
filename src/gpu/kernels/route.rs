//! What `shaders/route.wgsl` is told.

use super::parameters;

parameters! {
    /// The choice of a token's experts.
    pub struct Route {
        /// Quads.
        logits: u32,
        logits_stride: u32,
        choice: u32,
        choice_stride: u32,
        experts: u32,
        used: u32,
        /// Whether the weights of those in use are divided by their sum.
        normalise: u32,
        scale: f32,
    }
}
