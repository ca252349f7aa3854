// What the kernels are told that prepare activations for tiles.
struct Op {
    // Quads.
    src: u32,
    src_stride: u32,
    src_residual: u32,
    // Chunks of a row.
    chunks: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

// Scale of a chunk with a value that is not finite: whatever is multiplied by it tells.
const NOT_A_NUMBER: u32 = 0x7fc00000u;
// Chunks of smaller values are zero: one over them could overflow.
const LEAST: f32 = 1e-30;

// Where a chunk of a token begins; beyond the batch its last token stands in.
fn chunk_at(token: u32, index: u32) -> u32 {
    return row_of(op.src, op.src_stride, op.src_residual, min(token, step.tokens - 1u)) + 8u * index;
}

// The largest magnitude of a chunk; −1 if a value is not finite.
fn magnitude_of(at: u32) -> f32 {
    var most = vec4(0.0);
    var finite = true;
    for (var j = 0u; j < 8u; j++) {
        let value = arena[at + j];
        finite = finite && is_finite(value);
        most = max(most, abs(value));
    }
    return select(-1.0, max(max(most.x, most.y), max(most.z, most.w)), finite);
}
