//! What `shaders/attention.wgsl`, `shaders/attention_reduce.wgsl` and `shaders/attention_tiles.wgsl` are told.

use super::parameters;

/// What a workgroup of tiles has room for.
pub mod tiles {
    crate::gpu::kernels::constants! {
        /// Quads of queries, each row padded to whole slices of keys.
        QUERY_QUADS = 512;
        /// Invocations, each with a quad of values of four rows.
        TILE_THREADS = 128;
    }
}

parameters! {
    /// Attention of a batch over what the cache holds.
    pub struct Attention {
        /// Quads.
        query: u32,
        query_stride: u32,
        dst: u32,
        dst_stride: u32,
        /// Results of splits: `[token][head][split]` of maximum, sum and values.
        partials: u32,
        partial_stride: u32,
        heads: u32,
        /// Heads of queries for each head of keys.
        group: u32,
        head_dim: u32,
        value_dim: u32,
        scale: f32,
        /// Positions that a token sees; 0: all.
        window: u32,
        softcap: f32,
        /// Tokens that the cache has room for.
        context: u32,
        /// Words at which the values begin in the cache.
        values: u32,
        /// Rows of a tile: heads of tokens.
        rows: u32,
        /// The first tile, or token, of the dispatch, and the first head of keys, or of queries.
        first: u32,
        first_head: u32,
        /// Positions of a chunk, of which a token sees its own only; 0: none.
        chunk: u32,
        /// Positions after its own that a token sees.
        ahead: u32,
        /// Words of a logit for each head that takes its share of the softmax, or `NONE`.
        sinks: u32,
        /// The largest bias by which scores fall off with the distance; 0: none.
        alibi: f32,
    }
}

/// Rows of an attention tile: as many as its workgroup memory and its invocations have room for.
pub fn tile_rows(head_dim: usize, value_dim: usize) -> u32 {
    let queries = |rows: usize| rows * head_dim.div_ceil(32) * 8;
    let values = |rows: usize| rows / 4 * value_dim.div_ceil(4);
    let fits =
        |rows: &usize| queries(*rows) <= tiles::QUERY_QUADS as usize && values(*rows) <= tiles::TILE_THREADS as usize;
    [32, 16, 8].into_iter().find(fits).unwrap_or(4) as u32
}
