//! What `shaders/top.wgsl` and `shaders/sample.wgsl` are told.

use super::parameters;

/// What the two kernels have room for.
pub mod bounds {
    use crate::exec::Draw;

    crate::gpu::kernels::constants! {
        /// Candidates of a draw at most.
        K_MAX = Draw::TOP_K_MAX;
        /// Parts of the vocabulary at most: invocations that join their candidates.
        PARTS_MAX = 256;
    }
}

pub use bounds::PARTS_MAX;

parameters! {
    /// Logits, and where their best go.
    pub struct Candidates {
        /// Quads.
        logits: u32,
        /// Tokens of the vocabulary.
        count: u32,
        /// Quads: where the token goes, and the groups' flags.
        result: u32,
        flags: u32,
        groups: u32,
        /// The best of each part of the vocabulary: [part][rank] of logit and token, a quad each.
        candidates: u32,
        parts: u32,
        /// Tokens of a part, a multiple of four.
        part: u32,
    }
}
