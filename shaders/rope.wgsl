// Heads of queries and keys are normalised (where the model does so) and rotated; keys and values go to the
// cache: [head][position] with a row each, keys first. Cosines and sines come with the batch.
// Dispatch: (heads + 2 · key heads, 1, tokens).

struct Op {
    // Quads.
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
    // Words of the norms' weights.
    query_norm: u32,
    key_norm: u32,
    epsilon: f32,
    // Pairs that rotate, and where their cosines and sines are: quads of two pairs, `dims / 4` a token.
    pairs: u32,
    table: u32,
    flags: u32,
    context: u32,
    // Words at which the values begin in the cache.
    values: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

var<workgroup> head: array<f32, 512>;

fn load(row: u32, i: u32) -> f32 {
    return arena[row + i / 4u][i & 3u];
}

// A word of the head's row in the cache.
#if F16
fn kept_word(dim: u32, i: u32) -> u32 {
    return pack2x16float(vec2(head[2u * i], head[2u * i + 1u]));
}
#endif
#if Q8_0
fn kept_word(dim: u32, i: u32) -> u32 {
    if (4u * i >= dim) {
        // Two scales; behind the last there may be none.
        let block = 2u * (i - dim / 4u);
        let second = select(0.0, scale_for(block + 1u), 32u * (block + 1u) < dim);
        return pack2x16float(vec2(scale_for(block), second));
    }
    let scale = scale_for(i / 8u);
    let inverse = select(0.0, 1.0 / scale, scale > 0.0);
    let four = vec4(head[4u * i], head[4u * i + 1u], head[4u * i + 2u], head[4u * i + 3u]);
    let integers = vec4<u32>(vec4<i32>(clamp(round(four * inverse), vec4(-128.0), vec4(127.0)))) & vec4(255u);
    return integers.x | (integers.y << 8u) | (integers.z << 16u) | (integers.w << 24u);
}

// The scale of a block of the head: the largest value becomes 127.
fn scale_for(block: u32) -> f32 {
    var largest = 0.0;
    for (var i = 0u; i < 32u; i++) {
        largest = max(largest, abs(head[(32u * block + i) % 512u]));
    }
    return min(largest / 127.0, 65504.0);
}
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup: u32,
#endif
) {
    let token = group.z;
    let is_query = group.x < op.heads;
    let is_key = !is_query && group.x < op.heads + op.kv_heads;
    let position = step.position + token;
    var number = group.x;
    var row = op.query + token * op.query_stride;
    var norm = op.query_norm;
    if (is_key) {
        number -= op.heads;
        row = op.key + token * op.key_stride;
        norm = op.key_norm;
    } else if (!is_query) {
        number -= op.heads + op.kv_heads;
        row = op.value + token * op.value_stride;
        norm = NONE;
    }
    let dim = select(op.value_dim, op.head_dim, is_query || is_key);
    // A head need not begin with a quad.
    let first = number * dim;
    for (var i = local; i < dim; i += 64u) {
        head[i] = load(row, first + i);
    }
    workgroupBarrier();

    if (norm != NONE) {
        var squares = 0.0;
        for (var i = local; i < dim; i += 64u) {
            squares += head[i] * head[i];
        }
        let magnitude = inverseSqrt(sum_of(vec4(squares), local, 64u, subgroup).x / f32(dim) + op.epsilon);
        for (var i = local; i < dim; i += 64u) {
            head[i] *= magnitude * weight(norm + i);
        }
        workgroupBarrier();
    }

    let rotates = (is_query && (op.flags & ROTATES_QUERIES) != 0u) || (is_key && (op.flags & ROTATES_KEYS) != 0u);
    if (rotates) {
        for (var i = local; i < op.pairs; i += 64u) {
            let quad = arena[op.table + (token * op.pairs + i) / 2u];
            let turn = select(quad.xy, quad.zw, ((token * op.pairs + i) & 1u) == 1u);
            let neighbours = (op.flags & INTERLEAVED) != 0u;
            let a = select(i, 2u * i, neighbours);
            let b = select(i + op.pairs, 2u * i + 1u, neighbours);
            let pair = vec2(head[a], head[b]);
            head[a] = pair.x * turn.x - pair.y * turn.y;
            head[b] = pair.x * turn.y + pair.y * turn.x;
        }
        workgroupBarrier();
    }

    if (!is_query && (op.flags & KEEPS) != 0u) {
        let words = row_words(dim);
        let base = select(op.values, 0u, is_key) + (number * op.context + position) * words;
        for (var i = local; i < words; i += 64u) {
            cache[base + i] = kept_word(dim, i);
        }
    } else if (is_query || is_key) {
        for (var i = local; i < dim; i += 64u) {
            let at = first + i;
            arena[row + at / 4u][at & 3u] = head[i];
        }
    }
}
