// Tiles of matrix·matrix in 8-bit integers: quants as they are, and activations as prepare_integer left them.
// Exact up to the scales, which are f32.

// [half of the chunk][row], and [half][token]: 16 bytes each.
var<workgroup> w: array<vec4<u32>, 128>;
var<workgroup> x: array<vec4<u32>, 128>;
// [row]: scales and minimums of the halves. [token]: scale, and sums of the halves times it.
var<workgroup> w_scales: array<vec4<f32>, 64>;
var<workgroup> x_scales: array<vec4<f32>, 64>;

fn load_weights(job: Job, first: u32, index: u32, local: u32) {
    if (local < 64u) {
        let q = quants(job.planes, chunk_of(job, first + local, index));
        let at = spread(local);
        w[at] = q.a;
        w[64u + at] = q.b;
        w_scales[at] = vec4(q.scale, q.minimum);
    }
}

// Twelve words a token: 192 invocations have a quad of them each.
fn load_tokens(first_token: u32, index: u32, local: u32) {
    if (local < 64u) {
        return;
    }
    let token = (local - 64u) / 3u;
    let part = (local - 64u) % 3u;
    let from_token = min(first_token + token, step.tokens - 1u);
    let from_word = (index * ((step.tokens + 3u) / 4u) * 4u + from_token) * PREPARED_WORDS + 4u * part;
    let q = vec4(cache[from_word], cache[from_word + 1u], cache[from_word + 2u], cache[from_word + 3u]);
    let at = spread(token);
    if (part == 2u) {
        x_scales[at] = bitcast<vec4<f32>>(q);
    } else {
        x[64u * part + at] = q;
    }
}

fn dot_of_16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// Products of four rows with four tokens: a column for each token.
fn products(rows: u32, tokens: u32) -> mat4x4<f32> {
    let s = mat4x4<f32>(w_scales[rows], w_scales[16u + rows], w_scales[32u + rows], w_scales[48u + rows]);
    // Of each half, for four rows: scale, then minimum.
    let of_rows = transpose(s);
    var sums = mat4x4<f32>();
    for (var half = 0u; half < 2u; half++) {
        let w0 = w[64u * half + rows];
        let w1 = w[64u * half + 16u + rows];
        let w2 = w[64u * half + 32u + rows];
        let w3 = w[64u * half + 48u + rows];
        for (var t = 0u; t < 4u; t++) {
            let v = x[64u * half + 16u * t + tokens];
            let of_token = x_scales[16u * t + tokens];
            let dots = vec4(dot_of_16(w0, v), dot_of_16(w1, v), dot_of_16(w2, v), dot_of_16(w3, v));
            sums[t] += of_token.x * of_rows[half] * vec4<f32>(dots) - of_token[half + 1u] * of_rows[half + 2u];
        }
    }
    return sums;
}
