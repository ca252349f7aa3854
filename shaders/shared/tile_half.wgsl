// Tiles of matrix·matrix in f16: quants less the centre of their range, which f16 has exactly, and
// activations as prepare_half left them, at most 1. Sums of eight products are f16, and f32 beyond that.

// [quad of values][row], and [value][four tokens]; see `bank`.
var<workgroup> w: array<vec4<f16>, 512>;
var<workgroup> x: array<vec4<f16>, 512>;
// [row]: scales and minimums of the halves. [scale, sum of the first half, of the second][four tokens].
var<workgroup> w_scales: array<vec4<f32>, 64>;
var<workgroup> x_scales: array<vec4<f32>, 48>;

// Quads of one chunk are written by invocations beside each other: they go to different banks of memory.
fn bank(quad: u32, at: u32) -> u32 {
    return 64u * quad + (at ^ quad);
}

fn centred(word: u32) -> vec4<f16> {
    return vec4<f16>(values(word) - vec4(CENTRE));
}

// An invocation has a quarter of a row's chunk; four beside each other load the same quants.
fn load_weights(job: Job, first: u32, index: u32, local: u32) {
    let quarter = local % 4u;
    let q = quants(job.planes, chunk_of(job, first + local / 4u, index));
    let half = select(q.a, q.b, quarter >= 2u);
    let two = select(half.xy, half.zw, (quarter & 1u) == 1u);
    let at = spread(local / 4u);
    w[bank(2u * quarter, at)] = centred(two.x);
    w[bank(2u * quarter + 1u, at)] = centred(two.y);
    if (quarter == 0u) {
        w_scales[at] = vec4(q.scale, q.minimum - CENTRE * q.scale);
    }
}

// Sixteen times four tokens: two words for each of 32 values, and twelve of scales.
fn load_tokens(first_token: u32, index: u32, local: u32) {
    let four_of_all = (step.tokens + 3u) / 4u;
    for (var i = local; i < 560u; i += 256u) {
        if (i < 512u) {
            let four = min(first_token / 4u + i / 32u, four_of_all - 1u);
            let from_word = (index * four_of_all + four) * PREPARED_WORDS + 2u * (i % 32u);
            let value = vec4(unpack2x16float(cache[from_word]), unpack2x16float(cache[from_word + 1u]));
            x[i % 32u * 16u + i / 32u] = vec4<f16>(value);
        } else {
            let number = (i - 512u) / 3u;
            let part = (i - 512u) % 3u;
            let four = min(first_token / 4u + number, four_of_all - 1u);
            let from_word = (index * four_of_all + four) * PREPARED_WORDS + 64u + 4u * part;
            let q = vec4(cache[from_word], cache[from_word + 1u], cache[from_word + 2u], cache[from_word + 3u]);
            x_scales[16u * part + number] = bitcast<vec4<f32>>(q);
        }
    }
}

// Products of four rows with four tokens: a column for each token.
fn products(rows: u32, tokens: u32) -> mat4x4<f32> {
    // A column for each row on the way.
    var sums = mat4x4<f32>();
    for (var half = 0u; half < 2u; half++) {
        var here = mat4x4<f32>();
        for (var eighth = 0u; eighth < 2u; eighth++) {
            var p = array<vec4<f16>, 4>();
            for (var two = 0u; two < 2u; two++) {
                let k = 4u * half + 2u * eighth + two;
                let x0 = x[64u * k + tokens];
                let x1 = x[64u * k + 16u + tokens];
                let x2 = x[64u * k + 32u + tokens];
                let x3 = x[64u * k + 48u + tokens];
                for (var row = 0u; row < 4u; row++) {
                    let v = w[bank(k, 16u * row + rows)];
                    p[row] += x0 * v.x + x1 * v.y + x2 * v.z + x3 * v.w;
                }
            }
            for (var row = 0u; row < 4u; row++) {
                here[row] += vec4<f32>(p[row]);
            }
        }
        for (var row = 0u; row < 4u; row++) {
            let scales = w_scales[16u * row + rows];
            sums[row] += scales[half] * x_scales[tokens] * here[row] - scales[half + 2u] * x_scales[16u * (half + 1u) + tokens];
        }
    }
    return transpose(sums);
}
