//! What `shaders/wkv.wgsl` and `shaders/echo.wgsl` are told.

use super::parameters;

parameters! {
    /// What RWKV keeps; the fields of `Op::Wkv`.
    pub struct Wkv {
        /// Quads.
        query: u32,
        query_stride: u32,
        key: u32,
        key_stride: u32,
        value: u32,
        value_stride: u32,
        decay: u32,
        decay_stride: u32,
        /// Quads, or `NONE`.
        removed: u32,
        added: u32,
        erase_stride: u32,
        dst: u32,
        dst_stride: u32,
        /// The state's shape.
        heads: u32,
        rows: u32,
        columns: u32,
        /// Whether the state answers as it was.
        early: u32,
    }
}

parameters! {
    /// What a token answers to itself; the fields of `Op::Echo`.
    pub struct Echo {
        /// Quads.
        query: u32,
        query_stride: u32,
        key: u32,
        key_stride: u32,
        value: u32,
        value_stride: u32,
        dst: u32,
        dst_stride: u32,
        /// Quads of a head.
        keys: u32,
        values: u32,
    }
}
