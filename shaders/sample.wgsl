// The next token: the largest logit, or a draw among the `top_k` largest as the CPU's sampler makes it:
// top_p and min_p cut by the untempered distribution, then the temperature, then the draw. Joins the sorted
// candidates of the segments of the vocabulary; an invocation stands for a segment. Writes the token (as f32, exact
// below 2^24), and the first group that made a value that is not finite, or −1. Dispatch: (1, 1, 1).

var<workgroup> best: array<vec2<f32>, SEGMENTS_MAX>;
var<workgroup> top: array<vec2<f32>, K_MAX>;

@compute @workgroup_size(SEGMENTS_MAX)
fn main(@builtin(local_invocation_index) local: u32) {
    let count = candidates_wanted();
    var own = ABSENT;
    var used = 0u;
    if (local < op.segments) {
        own = arena[op.candidates + local * K_MAX].xy;
    }
    for (var rank = 0u; rank < count; rank++) {
        best[local] = own;
        workgroupBarrier();
        for (var width = SEGMENTS_MAX / 2u; width > 0u; width /= 2u) {
            if (local < width && precedes(best[local + width], best[local])) {
                best[local] = best[local + width];
            }
            workgroupBarrier();
        }
        let taken = best[0];
        workgroupBarrier();
        if (local == 0u) {
            top[rank] = taken;
        }
        if (own.y == taken.y && local < op.segments) {
            used++;
            own = ABSENT;
            if (used < count) {
                own = arena[op.candidates + local * K_MAX + used].xy;
            }
        }
    }
    if (local != 0u) {
        return;
    }

    var kept = min(count, op.count);
    let highest = top[0].x;
    if (step.top_p < 1.0) {
        var total = 0.0;
        for (var i = 0u; i < kept; i++) {
            total += exp(top[i].x - highest);
        }
        var sum = 0.0;
        for (var i = 0u; i < kept; i++) {
            sum += exp(top[i].x - highest);
            if (sum >= step.top_p * total) {
                kept = i + 1u;
            }
        }
    }
    var weight_sum = 0.0;
    for (var i = 0u; i < kept; i++) {
        if (i > 0u && exp(top[i].x - highest) < step.min_p) {
            kept = i;
        } else {
            weight_sum += exp((top[i].x - highest) * step.inverse_temperature);
        }
    }
    var token = top[0].y;
    var sum = 0.0;
    let drawn = step.random * weight_sum;
    for (var i = 0u; i < kept; i++) {
        sum += exp((top[i].x - highest) * step.inverse_temperature);
        if (sum > drawn) {
            token = top[i].y;
            break;
        }
    }
    var bad = -1.0;
    for (var g = op.groups; g > 0u; g--) {
        if (arena[op.flags + g - 1u].x != 0.0) {
            bad = f32(g - 1u);
        }
        arena[op.flags + g - 1u] = vec4(0.0);
    }
    arena[op.result] = vec4(token, bad, 0.0, 0.0);
}
