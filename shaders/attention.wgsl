// Grouped-query attention with online softmax, one head of one token a workgroup. For decode the
// positions are split over `step.splits` workgroups, whose results attention_reduce joins.
// Dispatch: (heads, splits, tokens), from op.first_head and op.first on.

const TILE: u32 = 64u;
const LOWEST: f32 = -3.0e38;

var<workgroup> q: array<vec2<f32>, 256>;
var<workgroup> weights: array<f32, TILE>;
var<workgroup> maxima: array<f32, TILE>;

// The product of the query with the key of a row.
#if F16
fn product(row: u32) -> f32 {
    var products = vec2(0.0);
    for (var i = 0u; i < op.head_dim / 2u; i++) {
        products += q[i] * pair_at(row, op.head_dim, i);
    }
    return products.x + products.y;
}
#endif
#if Q8_0
fn product(row: u32) -> f32 {
    var sum = 0.0;
    for (var block = 0u; block < op.head_dim / 32u; block++) {
        var products = vec4(0.0);
        for (var i = 8u * block; i < 8u * block + 8u; i++) {
            products += vec4(q[2u * i], q[2u * i + 1u]) * signed_bytes(cache[row + i]);
        }
        sum += dot(products, vec4(1.0)) * scale_at(row, op.head_dim, block);
    }
    return sum;
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let token = op.first + group.z;
    let head = op.first_head + group.x;
    let kv_head = head / op.group;
    let own = step.position + token;
    let end = end_seen(own);
    let start = first_seen(own);
    let share = (end - start + step.splits - 1u) / step.splits;
    let from_position = start + group.y * share;
    let to_position = min(end, from_position + share);

    let row = op.query + token * op.query_stride;
    let pairs = op.head_dim / 2u;
    for (var i = local; i < pairs; i += TILE) {
        let at = head * op.head_dim + 2u * i;
        q[i] = vec2(arena[row + at / 4u][at & 3u], arena[row + (at + 1u) / 4u][(at + 1u) & 3u]) * op.scale;
    }
    workgroupBarrier();

    let value_pairs = op.value_dim / 2u;
    var highest = LOWEST;
    var sum = 0.0;
    if (op.sinks != NONE && group.y == 0u) {
        highest = weight(op.sinks + head);
        sum = 1.0;
    }
    // An invocation has pairs local, local + 64, … of the values.
    var result = array<vec2<f32>, 4>();
    for (var tile = from_position; tile < to_position; tile += TILE) {
        let position = tile + local;
        var score = LOWEST;
        if (position < to_position) {
            let row = (kv_head * op.context + position) * row_words(op.head_dim);
            score = adjusted(product(row), head, max(own, position) - min(own, position));
        }
        maxima[local] = score;
        workgroupBarrier();
        for (var width = TILE / 2u; width > 0u; width /= 2u) {
            if (local < width) {
                maxima[local] = max(maxima[local], maxima[local + width]);
            }
            workgroupBarrier();
        }
        let before = highest;
        highest = max(highest, maxima[0]);
        weights[local] = select(0.0, exp(score - highest), position < to_position);
        workgroupBarrier();

        let fade = exp(before - highest);
        sum *= fade;
        for (var j = 0u; j < 4u; j++) {
            result[j] *= fade;
        }
        let count = min(TILE, to_position - tile);
        for (var p = 0u; p < count; p++) {
            let share_of = weights[p];
            sum += share_of;
            let row = op.values + (kv_head * op.context + tile + p) * row_words(op.value_dim);
            for (var j = 0u; j < 4u; j++) {
                let i = local + TILE * j;
                if (i < value_pairs) {
                    result[j] += share_of * pair_at(row, op.value_dim, i);
                }
            }
        }
        workgroupBarrier();
    }

    var out = op.dst + token * op.dst_stride;
    var first = head * op.value_dim;
    var factor = 1.0 / sum;
    if (step.splits > 1u) {
        out = op.partials + ((token * op.heads + head) * step.splits + group.y) * op.partial_stride;
        first = 4u;
        factor = 1.0;
        if (local == 0u) {
            arena[out] = vec4(highest, sum, 0.0, 0.0);
        }
    }
    for (var j = 0u; j < 4u; j++) {
        let i = local + TILE * j;
        if (i < value_pairs) {
            let at = first + 2u * i;
            arena[out + at / 4u][at & 3u] = result[j].x * factor;
            arena[out + (at + 1u) / 4u][(at + 1u) & 3u] = result[j].y * factor;
        }
    }
}
