// What happens to each value on its own. Dispatch: (64 quads, 1, tokens).

struct Op {
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    src: u32,
    src_stride: u32,
    src_residual: u32,
    quads: u32,
    // Which computation: see `main`.
    kind: u32,
    number: f32,
    flag: u32,
    activation: u32,
    // Values of a row: what lies behind them stays zero.
    width: u32,
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

// e^m − 1 − m, by the series where the difference would lose what it is.
fn exp_below(m: vec4<f32>) -> vec4<f32> {
    let rest = 0.041666667 + m * (0.008333334 + m * (0.001388889 + m * 0.0001984127));
    let series = m * m * (0.5 + m * (0.16666667 + m * rest));
    return select(exp(max(m, vec4(-80.0))) - 1.0 - m, series, m > vec4(-0.5));
}

fn activated(x: vec4<f32>) -> vec4<f32> {
    switch op.activation {
        case IDENTITY: { return x; }
        case SILU: { return x * sigmoid(x); }
        case GELU: { return 0.5 * x * (1.0 + tanh_of(0.7978845608 * x * (1.0 + 0.044715 * x * x))); }
        case GELU_ERF: { return 0.5 * x * (1.0 + erf(0.70710678 * x)); }
        case RELU: { return max(x, vec4(0.0)); }
        case RELU_SQUARED: { return max(x, vec4(0.0)) * max(x, vec4(0.0)); }
        case SIGMOID: { return sigmoid(x); }
        case EXP: { return exp(clamp(x, vec4(-40.0), vec4(40.0))); }
        case EXP_BELOW: { return exp_below(min(x, vec4(0.0))); }
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
        case ACTIVATE: {
            let is_there = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(op.width);
            arena[at] = select(vec4(0.0), activated(x), is_there);
            return;
        }
        case SOFTCAP: {
            arena[at] = op.number * tanh_of(x / op.number);
            return;
        }
        case SCALE: {
            arena[at] = x * op.number;
            return;
        }
        case CLAMP: {
            arena[at] = clamp(x, vec4(-op.number), vec4(op.number));
            return;
        }
        case WEIGH: {
            if (op.src_stride == 0u) {
                arena[at] = x * weight(op.src);
            } else {
                let first = op.src + 4u * i;
                arena[at] = x * vec4(weight(first), weight(first + 1u), weight(first + 2u), weight(first + 3u));
            }
            return;
        }
        default: {}
    }
    let y = arena[row_of(op.src, op.src_stride, op.src_residual, group.z) + i];
    if (op.kind == GATE) {
        arena[at] = activated(x) * select(y, clamp(y, vec4(-7.0), vec4(7.0)) + 1.0, op.activation == SWIGLU_LIMITED);
    } else {
        let value = x + y;
        if (!is_finite(value)) {
            arena[op.flag] = vec4(1.0);
        }
        arena[at] = value;
    }
}
