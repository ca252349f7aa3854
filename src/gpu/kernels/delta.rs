//! What `shaders/delta.wgsl` is told.

use super::parameters;

parameters! {
    /// The gated delta rule; the fields of `Op::DeltaRule`.
    pub struct Delta {
        /// Quads.
        query: u32,
        query_stride: u32,
        key: u32,
        key_stride: u32,
        value: u32,
        value_stride: u32,
        decay: u32,
        decay_stride: u32,
        beta: u32,
        beta_stride: u32,
        dst: u32,
        dst_stride: u32,
        /// The state's shape.
        heads: u32,
        rows: u32,
        columns: u32,
        /// Heads that share keys and queries are a group.
        groups: u32,
        /// Whether head h is of group h mod `groups`.
        interleaved: u32,
        /// Words of `decays` values for each head.
        bias: u32,
        /// Words of a value for each head.
        rate: u32,
        /// 1, or as many as columns.
        decays: u32,
    }
}
