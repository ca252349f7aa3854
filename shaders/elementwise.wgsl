// What happens to each value on its own. Dispatch: (64 quads, 1, tokens).

struct Op {
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    src: u32,
    src_stride: u32,
    quads: u32,
    // 1: dst = silu(dst) · src. 2: dst = gelu(dst) · src. 3: dst += src. 4: dst = cap · tanh(dst / cap).
    kind: u32,
    cap: f32,
    flag: u32,
    pad: vec3<u32>,
}

@group(0) @binding(5) var<uniform> op: Op;

// By exp, whose argument is bounded for the sake of overflow.
fn tanh_of(x: vec4<f32>) -> vec4<f32> {
    return 1.0 - 2.0 / (1.0 + exp(2.0 * clamp(x, vec4(-15.0), vec4(15.0))));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = 64u * group.x + local;
    if (i >= op.quads) {
        return;
    }
    let at = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + i;
    let x = arena[at];
    if (op.kind == 4u) {
        let value = op.cap * tanh_of(x / op.cap);
        arena[at] = value;
        return;
    }
    let y = arena[op.src + group.z * op.src_stride + i];
    if (op.kind == 1u) {
        arena[at] = x / (1.0 + exp(min(-x, vec4(80.0)))) * y;
    } else if (op.kind == 2u) {
        arena[at] = 0.5 * x * (1.0 + tanh_of(0.7978845608 * x * (1.0 + 0.044715 * x * x))) * y;
    } else {
        let value = x + y;
        if (!is_finite(value)) {
            arena[op.flag] = vec4(1.0);
        }
        arena[at] = value;
    }
}
