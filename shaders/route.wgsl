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
        // The first of equals wins.
        var best = NONE;
        for (var e = 0u; e < op.experts; e++) {
            var taken = false;
            for (var before = 0u; before < rank; before++) {
                taken = taken || u32(chosen(before)) == e;
            }
            if (!taken && (best == NONE || logit(e) > logit(best))) {
                best = e;
            }
        }
        let probability = exp(logit(best) - highest) / total;
        put(rank, f32(best));
        put(op.used + rank, probability);
        sum += probability;
    }
    // The smallest normal f16, below which llama.cpp does not divide.
    let factor = select(op.scale, op.scale / max(sum, 6.103515625e-5), op.normalise == 1u);
    for (var rank = 0u; rank < op.used; rank++) {
        put(op.used + rank, chosen(op.used + rank) * factor);
    }
}
