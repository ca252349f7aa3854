// Tiles of matrix·matrix in f32: 16 KiB.

// [quad of values][row], and [quad of values][token]; see `bank`.
var<workgroup> w: array<vec4<f32>, 512>;
var<workgroup> x: array<vec4<f32>, 512>;

// Quads of one chunk are written by invocations beside each other: they go to different banks of memory.
fn bank(quad: u32, at: u32) -> u32 {
    return 64u * quad + (at ^ quad);
}

// An invocation decodes a quarter of a row's chunk; four beside each other load the same quants.
fn load_weights(job: Job, first: u32, index: u32, local: u32) {
    let quarter = local % 4u;
    let weights = eight(job.planes, chunk_of(job, first + local / 4u, index), quarter);
    let at = spread(local / 4u);
    w[bank(2u * quarter, at)] = weights[0];
    w[bank(2u * quarter + 1u, at)] = weights[1];
}

fn load_tokens(first_token: u32, index: u32, local: u32) {
    for (var i = local; i < 512u; i += 256u) {
        let token = min(first_token + i / 8u, step.tokens - 1u);
        let src = row_of(op.src, op.src_stride, op.src_residual, token);
        x[bank(i % 8u, spread(i / 8u))] = arena[src + 8u * index + i % 8u];
    }
}

// Products of four rows with four tokens: a column for each token.
fn products(rows: u32, tokens: u32) -> mat4x4<f32> {
    var sums = mat4x4<f32>();
    for (var k = 0u; k < 8u; k++) {
        let w0 = w[bank(k, rows)];
        let w1 = w[bank(k, 16u + rows)];
        let w2 = w[bank(k, 32u + rows)];
        let w3 = w[bank(k, 48u + rows)];
        for (var t = 0u; t < 4u; t++) {
            let v = x[bank(k, 16u * t + tokens)];
            sums[t] += vec4(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
        }
    }
    return sums;
}
