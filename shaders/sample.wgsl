// The next token: the largest logit, or a draw among the `top_k` largest as the CPU's sampler makes it:
// top_p and min_p cut by the untempered distribution, then the temperature, then the draw. Writes the token
// (as f32, exact below 2^24), and the first group that made a value that is not finite, or −1.
// Dispatch: (1, 1, 1).

struct Op {
    // Quads.
    logits: u32,
    count: u32,
    result: u32,
    flags: u32,
    groups: u32,
    pad: vec3<u32>,
}

@group(0) @binding(5) var<uniform> op: Op;

const K_MAX: u32 = 64u;
const LOWEST: f32 = -3.4e38;

var<workgroup> best_logit: array<f32, 256>;
var<workgroup> best_token: array<u32, 256>;
var<workgroup> top_logit: array<f32, K_MAX>;
var<workgroup> top_token: array<u32, K_MAX>;
var<workgroup> damaged: u32;

fn logit(token: u32) -> f32 {
    return arena[op.logits + token / 4u][token & 3u];
}

// Whether a comes before b: larger logits first, lower numbers first among equals.
fn precedes(a: f32, a_token: u32, b: f32, b_token: u32) -> bool {
    return a > b || (a == b && a_token < b_token);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    if (local == 0u) {
        damaged = 0u;
    }
    workgroupBarrier();
    for (var i = local; i < (op.count + 3u) / 4u; i += 256u) {
        if (!is_finite(arena[op.logits + i])) {
            damaged = 1u;
        }
    }
    let count = clamp(step.top_k, 1u, K_MAX);
    for (var rank = 0u; rank < count; rank++) {
        var logit_limit = 3.4e38;
        var token_limit = 0u;
        if (rank > 0u) {
            logit_limit = top_logit[rank - 1u];
            token_limit = top_token[rank - 1u];
        }
        var best = LOWEST;
        var token = NONE;
        for (var t = local; t < op.count; t += 256u) {
            let value = logit(t);
            let left = rank == 0u || precedes(logit_limit, token_limit, value, t);
            if (left && (token == NONE || value > best)) {
                best = value;
                token = t;
            }
        }
        best_logit[local] = best;
        best_token[local] = token;
        workgroupBarrier();
        for (var width = 128u; width > 0u; width /= 2u) {
            if (local < width && precedes(best_logit[local + width], best_token[local + width], best_logit[local], best_token[local])) {
                best_logit[local] = best_logit[local + width];
                best_token[local] = best_token[local + width];
            }
            workgroupBarrier();
        }
        if (local == 0u) {
            top_logit[rank] = best_logit[0];
            top_token[rank] = best_token[0];
        }
        workgroupBarrier();
    }
    if (local != 0u) {
        return;
    }

    var kept = min(count, op.count);
    let highest = top_logit[0];
    if (step.top_p < 1.0) {
        var total = 0.0;
        for (var i = 0u; i < kept; i++) {
            total += exp(top_logit[i] - highest);
        }
        var sum = 0.0;
        for (var i = 0u; i < kept; i++) {
            sum += exp(top_logit[i] - highest);
            if (sum >= step.top_p * total) {
                kept = i + 1u;
            }
        }
    }
    var weight_sum = 0.0;
    for (var i = 0u; i < kept; i++) {
        if (i > 0u && exp(top_logit[i] - highest) < step.min_p) {
            kept = i;
        } else {
            weight_sum += exp((top_logit[i] - highest) * step.inverse_temperature);
        }
    }
    var token = top_token[0];
    var sum = 0.0;
    let drawn = step.random * weight_sum;
    for (var i = 0u; i < kept; i++) {
        sum += exp((top_logit[i] - highest) * step.inverse_temperature);
        if (sum > drawn) {
            token = top_token[i];
            break;
        }
    }
    var bad = -1.0;
    if (damaged == 1u) {
        bad = f32(op.groups - 1u);
    }
    for (var g = op.groups; g > 0u; g--) {
        if (arena[op.flags + g - 1u].x != 0.0) {
            bad = f32(g - 1u);
        }
        arena[op.flags + g - 1u] = vec4(0.0);
    }
    arena[op.result] = vec4(f32(token), bad, 0.0, 0.0);
}
