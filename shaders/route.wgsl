// The choice of experts of one token: numbers, then weights. Experts are few, so one invocation does it.
// Dispatch: (1, 1, tokens).

struct Op {
    // Quads.
    logits: u32,
    logits_stride: u32,
    choice: u32,
    choice_stride: u32,
    experts: u32,
    used: u32,
    normalise: u32,
    scale: f32,
    // What is chosen by.
    scores: u32,
    // Words of what is added to the scores for the choice, or NONE.
    bias: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

var<private> token: u32;

fn logit(expert: u32) -> f32 {
    return arena[op.logits + token * op.logits_stride + expert / 4u][expert & 3u];
}

fn put(index: u32, value: f32) {
    arena[op.choice + token * op.choice_stride + index / 4u][index & 3u] = value;
}

fn chosen(index: u32) -> f32 {
    return arena[op.choice + token * op.choice_stride + index / 4u][index & 3u];
}

// What an expert's logit is for the choice and its weight; `highest` and `total` are the softmax's.
fn score_of(expert: u32, highest: f32, total: f32) -> f32 {
    switch op.scores {
        case SOFTMAX: { return exp(logit(expert) - highest) / total; }
        case SIGMOID: { return 1.0 / (1.0 + exp(min(-logit(expert), 80.0))); }
        default: { return logit(expert); }
    }
}

fn with_bias(score: f32, expert: u32) -> f32 {
    if (op.bias == NONE) {
        return score;
    }
    return score + weight(op.bias + expert);
}

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    token = group.z;
    var highest = -3.0e38;
    for (var e = 0u; e < op.experts; e++) {
        highest = max(highest, logit(e));
    }
    var total = 0.0;
    for (var e = 0u; e < op.experts; e++) {
        total += exp(logit(e) - highest);
    }
    var sum = 0.0;
    for (var rank = 0u; rank < op.used; rank++) {
        // The first of equals wins. Without a bias logits decide, which differ where their scores are equal.
        var best = NONE;
        var best_value = 0.0;
        for (var e = 0u; e < op.experts; e++) {
            var taken = false;
            for (var before = 0u; before < rank; before++) {
                taken = taken || u32(chosen(before)) == e;
            }
            var value = logit(e);
            if (op.bias != NONE) {
                value = with_bias(score_of(e, highest, total), e);
            }
            if (!taken && (best == NONE || value > best_value)) {
                best = e;
                best_value = value;
            }
        }
        var score = score_of(best, highest, total);
        if (op.scores == SOFTMAX_OF_CHOSEN) {
            // Of the chosen the first has the highest logit, unless a bias says otherwise.
            score = exp(min(logit(best) - logit(u32(chosen(0u))), 80.0));
            if (rank == 0u) {
                score = 1.0;
            }
        }
        put(rank, f32(best));
        put(op.used + rank, score);
        sum += score;
    }
    if (op.scores == SOFTMAX_OF_CHOSEN) {
        for (var rank = 0u; rank < op.used; rank++) {
            put(op.used + rank, chosen(op.used + rank) / sum);
        }
        sum = 1.0;
    }
    // The smallest normal f16, below which llama.cpp does not divide.
    let factor = select(op.scale, op.scale / max(sum, 6.103515625e-5), op.normalise == 1u);
    for (var rank = 0u; rank < op.used; rank++) {
        put(op.used + rank, chosen(op.used + rank) * factor);
    }
}
