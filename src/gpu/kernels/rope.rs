//! What `shaders/rope.wgsl` is told.

use super::parameters;

/// Bits of `flags`.
pub mod flags {
    crate::gpu::kernels::constants! {
        /// Pairs are neighbours.
        INTERLEAVED = 1;
        /// Queries rotate.
        ROTATES_QUERIES = 2;
        /// Keys rotate.
        ROTATES_KEYS = 4;
        /// Keys and values go to the cache.
        KEEPS = 8;
    }
}

parameters! {
    /// Heads of queries, keys and values on their way to attention.
    pub struct Rope {
        /// Quads.
        query: u32,
        query_stride: u32,
        key: u32,
        key_stride: u32,
        value: u32,
        value_stride: u32,
        heads: u32,
        kv_heads: u32,
        head_dim: u32,
        value_dim: u32,
        /// Words of the norms' weights, or `NONE`.
        query_norm: u32,
        key_norm: u32,
        epsilon: f32,
        /// Pairs that rotate, and where their cosines and sines are: quads of two pairs.
        pairs: u32,
        table: u32,
        /// See `flags`.
        flags: u32,
        /// Tokens that the cache has room for.
        context: u32,
        /// Words at which the values begin in the cache.
        values: u32,
    }
}
