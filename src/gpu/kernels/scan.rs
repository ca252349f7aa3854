//! What `shaders/scan.wgsl` is told.

use super::parameters;

parameters! {
    /// A selective scan; the fields of `Op::Scan`.
    pub struct Scan {
        /// Quads.
        input: u32,
        input_stride: u32,
        step: u32,
        step_stride: u32,
        key: u32,
        key_stride: u32,
        query: u32,
        query_stride: u32,
        dst: u32,
        dst_stride: u32,
        /// The state's shape.
        heads: u32,
        rows: u32,
        columns: u32,
        /// Heads that share keys and queries are a group.
        groups: u32,
        /// Words of a value for each head, or `NONE`.
        bias: u32,
        /// Words of `rates` values for each head.
        rate: u32,
        /// Words of a value for each head.
        skip: u32,
        /// 1, or as many as columns.
        rates: u32,
    }
}
