// What happens to each value on its own. Dispatch: (64 quads, 1, tokens).

struct Op {
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    src: u32,
    src_stride: u32,
    quads: u32,
    // 1: dst = activation(dst) · src. 2: dst = activation(dst). 3: dst += src. 4: dst = number · tanh(dst / number).
    // 5: dst = dst · number. 6: dst within −number and number.
    kind: u32,
    number: f32,
    flag: u32,
    // 1: SiLU. 2: GELU by tanh. 3: GELU by the error function. 4: ReLU. 5: its square. 6: sigmoid. 7: limited SwiGLU.
    activation: u32,
    pad: vec2<u32>,
}

@group(0) @binding(5) var<uniform> op: Op;

// By exp, whose argument is bounded for the sake of overflow.
fn tanh_of(x: vec4<f32>) -> vec4<f32> {
    return 1.0 - 2.0 / (1.0 + exp(2.0 * clamp(x, vec4(-15.0), vec4(15.0))));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(min(-x, vec4(80.0))));
}

// To 1.5·10⁻⁷: formula 7.1.26 of Abramowitz and Stegun.
fn erf(x: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let sum = t * (0.2548296 + t * (-0.28449674 + t * (1.4214137 + t * (-1.453152 + t * 1.0614054))));
    return sign(x) * (1.0 - sum * exp(max(-x * x, vec4(-80.0))));
}

fn activated(x: vec4<f32>) -> vec4<f32> {
    switch op.activation {
        case 1u: { return x * sigmoid(x); }
        case 2u: { return 0.5 * x * (1.0 + tanh_of(0.7978845608 * x * (1.0 + 0.044715 * x * x))); }
        case 3u: { return 0.5 * x * (1.0 + erf(0.70710678 * x)); }
        case 4u: { return max(x, vec4(0.0)); }
        case 5u: { return max(x, vec4(0.0)) * max(x, vec4(0.0)); }
        case 6u: { return sigmoid(x); }
        default: {
            let gate = min(x, vec4(7.0));
            return gate * sigmoid(1.702 * gate);
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = 64u * group.x + local;
    if (i >= op.quads) {
        return;
    }
    let at = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + i;
    let x = arena[at];
    switch op.kind {
        case 2u: {
            arena[at] = activated(x);
            return;
        }
        case 4u: {
            arena[at] = op.number * tanh_of(x / op.number);
            return;
        }
        case 5u: {
            arena[at] = x * op.number;
            return;
        }
        case 6u: {
            arena[at] = clamp(x, vec4(-op.number), vec4(op.number));
            return;
        }
        default: {}
    }
    let y = arena[op.src + group.z * op.src_stride + i];
    if (op.kind == 1u) {
        arena[at] = activated(x) * select(y, clamp(y, vec4(-7.0), vec4(7.0)) + 1.0, op.activation == 7u);
    } else {
        let value = x + y;
        if (!is_finite(value)) {
            arena[op.flag] = vec4(1.0);
        }
        arena[at] = value;
    }
}
