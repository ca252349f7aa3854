// Joins the splits of a head: each is weighted by the share of its softmax.
// Dispatch: (heads, 1, tokens).

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
