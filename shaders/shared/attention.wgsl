// What the kernels of attention are told.
struct Op {
    // Quads.
    query: u32,
    query_stride: u32,
    dst: u32,
    dst_stride: u32,
    // Results of splits: [token][head][split] of maximum, sum and values.
    partials: u32,
    partial_stride: u32,
    heads: u32,
    group: u32,
    head_dim: u32,
    value_dim: u32,
    scale: f32,
    // 0: none.
    window: u32,
    softcap: f32,
    context: u32,
    values: u32,
    // Rows of a tile: heads of tokens.
    rows: u32,
    // The first tile, or token, of the dispatch, and the first head of keys, or of queries.
    first: u32,
    first_head: u32,
}

@group(0) @binding(5) var<uniform> op: Op;
