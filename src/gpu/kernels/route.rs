//! What `shaders/route.wgsl` is told.

use super::parameters;
use crate::program::Scores;

/// What experts are chosen by.
pub mod scores {
    crate::gpu::kernels::constants! {
        /// The softmax over all.
        SOFTMAX = 0;
        /// Their logits, and the weights are the softmax over those of the chosen.
        SOFTMAX_OF_CHOSEN = 1;
        /// The sigmoid of each.
        SIGMOID = 2;
    }
}

/// The number of a kind of scores in the shader.
pub fn scores_number(of: Scores) -> u32 {
    match of {
        Scores::Softmax => scores::SOFTMAX,
        Scores::SoftmaxOfChosen => scores::SOFTMAX_OF_CHOSEN,
        Scores::Sigmoid => scores::SIGMOID,
    }
}

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
        /// One of `scores`.
        scores: u32,
        /// Words of what is added to the scores for the choice, or `NONE`.
        bias: u32,
    }
}
