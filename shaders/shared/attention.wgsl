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
    // 0, or positions of a chunk, of which a token sees its own only.
    chunk: u32,
    // Positions after its own that a token sees.
    ahead: u32,
    // Words of a logit for each head that takes its share of the softmax and adds nothing, or NONE.
    sinks: u32,
    // 0, or the largest bias by which scores fall off with the distance.
    alibi: f32,
}

@group(0) @binding(5) var<uniform> op: Op;

// The first position that a token sees.
fn first_seen(position: u32) -> u32 {
    if (op.chunk != 0u) {
        return position - position % op.chunk;
    }
    if (op.window != 0u && position + 1u > op.window) {
        return position + 1u - op.window;
    }
    return 0u;
}

// The position after the last that a token sees.
fn end_seen(position: u32) -> u32 {
    return min(position + 1u + op.ahead, step.positions);
}

// A score as the softmax takes it: capped, and lower the further away its key is.
fn adjusted(score: f32, head: u32, distance: u32) -> f32 {
    var result = score;
    if (op.softcap != 0.0) {
        let t = clamp(score / op.softcap, -15.0, 15.0);
        result = op.softcap * (1.0 - 2.0 / (1.0 + exp(2.0 * t)));
    }
    if (op.alibi != 0.0) {
        // Slopes of the largest power of two of heads; what heads there are beyond it lie between those.
        let whole = 1u << firstLeadingBit(op.heads);
        var exponent = f32(head + 1u);
        if (head >= whole) {
            exponent = f32(head - whole) + 0.5;
        }
        result -= exp2(-op.alibi * exponent / f32(whole)) * f32(distance);
    }
    return result;
}
