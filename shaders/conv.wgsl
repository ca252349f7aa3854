// A causal convolution of each channel over the tokens before it, in place. An invocation has four channels of
// all tokens of the batch. Where other kernels have the cache it finds the inputs before the batch,
// [tap][channel], the oldest first, and leaves the last ones. Dispatch: (64 quads, 1, 1).

struct Op {
    // Quads.
    slot: u32,
    slot_stride: u32,
    quads: u32,
    // Tokens before each that it sees, TAPS_MAX at most.
    taps: u32,
    // Words: `taps` + 1 values for each channel, and one; or NONE. Without a kernel the oldest goes out as it is.
    kernel: u32,
    bias: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = 64u * group.x + local;
    if (i >= op.quads) {
        return;
    }
    let width = 4u * op.quads;
    // Inputs before the token, the oldest first, and what each is multiplied by; the token's own comes last.
    var past = array<vec4<f32>, TAPS_MAX>();
    var factors = array<vec4<f32>, TAPS_MAX + 1u>();
    for (var tap = 0u; tap <= op.taps; tap++) {
        for (var c = 0u; c < 4u; c++) {
            if (op.kernel == NONE) {
                factors[tap][c] = f32(tap == 0u);
            } else {
                factors[tap][c] = weight(op.kernel + (4u * i + c) * (op.taps + 1u) + tap);
            }
            if (tap < op.taps && step.position > 0u) {
                past[tap][c] = bitcast<f32>(cache[tap * width + 4u * i + c]);
            }
        }
    }
    var bias = vec4(0.0);
    if (op.bias != NONE) {
        for (var c = 0u; c < 4u; c++) {
            bias[c] = weight(op.bias + 4u * i + c);
        }
    }
    for (var token = 0u; token < step.tokens; token++) {
        let at = op.slot + token * op.slot_stride + i;
        let newest = arena[at];
        var sum = factors[op.taps] * newest + bias;
        for (var tap = 0u; tap < op.taps; tap++) {
            sum += factors[tap] * past[tap];
        }
        for (var tap = 0u; tap + 1u < op.taps; tap++) {
            past[tap] = past[tap + 1u];
        }
        past[op.taps - 1u] = newest;
        arena[at] = sum;
    }
    for (var tap = 0u; tap < op.taps; tap++) {
        for (var c = 0u; c < 4u; c++) {
            cache[tap * width + 4u * i + c] = bitcast<u32>(past[tap][c]);
        }
    }
}
