// Joins the splits of a head: each is weighted by the share of its softmax.
// Dispatch: (heads, 1, tokens).

struct Op {
    query: u32,
    query_stride: u32,
    dst: u32,
    dst_stride: u32,
    partials: u32,
    partial_stride: u32,
    heads: u32,
    group: u32,
    head_dim: u32,
    value_dim: u32,
    scale: f32,
    window: u32,
    softcap: f32,
    context: u32,
    values: u32,
    pad: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = op.partials + (group.z * op.heads + group.x) * step.splits * op.partial_stride;
    var highest = -3.0e38;
    for (var s = 0u; s < step.splits; s++) {
        highest = max(highest, arena[first + s * op.partial_stride].x);
    }
    var sum = 0.0;
    for (var s = 0u; s < step.splits; s++) {
        let head = arena[first + s * op.partial_stride];
        sum += head.y * exp(head.x - highest);
    }
    for (var i = local; i < op.value_dim; i += 64u) {
        var value = 0.0;
        for (var s = 0u; s < step.splits; s++) {
            let part = first + s * op.partial_stride;
            value += arena[part + 1u + i / 4u][i & 3u] * exp(arena[part].x - highest);
        }
        let at = group.x * op.value_dim + i;
        arena[op.dst + group.z * op.dst_stride + at / 4u][at & 3u] = value / sum;
    }
}
