//! What `shaders/top.wgsl` and `shaders/sample.wgsl` are told.

use super::parameters;

/// What the two kernels have room for.
pub mod bounds {
    use crate::exec::Draw;

    crate::gpu::kernels::constants! {
        /// Candidates of a draw at most.
        K_MAX = Draw::TOP_K_MAX;
        /// Segments of the vocabulary at most: invocations that join their candidates.
        SEGMENTS_MAX = 256;
    }
}

pub use bounds::SEGMENTS_MAX;

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
        /// The best of each segment of the vocabulary: `[segment][rank]` of logit and token, a quad each.
        candidates: u32,
        segments: u32,
        /// Tokens of a segment, a multiple of four.
        segment: u32,
    }
}
