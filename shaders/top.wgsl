// The largest logits of a segment of the vocabulary, best first, as many as the draw is among. Each invocation
// knows the best of its own tokens; in every round the best of all is taken, and only the invocation that it
// came from looks for its next, so that logits are read little more than once. Dispatch: (segments, 1, 1).

var<workgroup> best: array<vec2<f32>, 64>;

// The best of an invocation's tokens among those that come after `limit`.
fn next(first: u32, end: u32, limit: vec2<f32>, has_limit: bool) -> vec2<f32> {
    var found = ABSENT;
    for (var quad = first; quad < end; quad += 256u) {
        let logits = arena[op.logits + quad / 4u];
        for (var i = 0u; i < 4u; i++) {
            let candidate = vec2(logits[i], f32(quad + i));
            if (quad + i < op.count && precedes(candidate, found) && (!has_limit || precedes(limit, candidate))) {
                found = candidate;
            }
        }
        if (!has_limit && !is_finite(logits)) {
            arena[op.flags + op.groups - 1u] = vec4(1.0);
        }
    }
    return found;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = group.x * op.segment + 4u * local;
    let end = min((group.x + 1u) * op.segment, op.count);
    var own = next(first, end, ABSENT, false);
    let count = candidates_wanted();
    for (var rank = 0u; rank < count; rank++) {
        best[local] = own;
        workgroupBarrier();
        for (var width = 32u; width > 0u; width /= 2u) {
            if (local < width && precedes(best[local + width], best[local])) {
                best[local] = best[local + width];
            }
            workgroupBarrier();
        }
        let taken = best[0];
        workgroupBarrier();
        if (local == 0u) {
            arena[op.candidates + group.x * K_MAX + rank] = vec4(taken, 0.0, 0.0);
        }
        if (own.y == taken.y && rank + 1u < count) {
            own = next(first, end, taken, true);
        }
    }
}
