// Every `width` values on their own: dst = or += (src − m) / sqrt(mean((src − m)²) + epsilon) · weight + bias, where
// m is the mean, or 0.
// Dispatch: (runs of a row, 1, tokens).

struct Op {
    src: u32,
    src_stride: u32,
    src_residual: u32,
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    width: u32,
    weights: u32,
    epsilon: f32,
    add: u32,
    flag: u32,
    // Whether the mean is taken off, an RMS norm being without; 2 where what exceeds epsilon standard deviations is left.
    is_centred: u32,
    bias: u32,
    // Values of weight and bias between those of a run and those of the next.
    step: u32,
    pad: vec2<u32>,
}

@group(0) @binding(5) var<uniform> op: Op;

fn vector(at: u32) -> vec4<f32> {
    return vec4(weight(at), weight(at + 1u), weight(at + 2u), weight(at + 3u));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup: u32,
#endif
) {
    let first = group.x * op.width / 4u;
    let src = row_of(op.src, op.src_stride, op.src_residual, group.z) + first;
    let dst = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + first;
    var mean = 0.0;
    if (op.is_centred != 0u) {
        var values = 0.0;
        for (var i = local; i < op.width / 4u; i += 64u) {
            values += dot(arena[src + i], vec4(1.0));
        }
        mean = sum_of(vec4(values), local, 64u, subgroup).x / f32(op.width);
    }
    var squares = 0.0;
    for (var i = local; i < op.width / 4u; i += 64u) {
        let value = arena[src + i] - mean;
        squares += dot(value, value);
    }
    let all_squares = sum_of(vec4(squares), local, 64u, subgroup).x;
    let magnitude = inverseSqrt(all_squares / f32(op.width) + op.epsilon);
    let least = op.epsilon * sqrt(all_squares / f32(max(op.width, 2u) - 1u));
    for (var i = local; i < op.width / 4u; i += 64u) {
        let at = group.x * op.step + 4u * i;
        var value = (arena[src + i] - mean) * magnitude;
        if (op.is_centred == 2u) {
            value = max(arena[src + i] - mean - least, vec4(0.0));
        }
        if (op.weights != NONE) {
            value *= vector(op.weights + at);
        }
        if (op.bias != NONE) {
            value += vector(op.bias + at);
        }
        if (op.add == 1u) {
            value += arena[dst + i];
            if (!is_finite(value)) {
                arena[op.flag] = vec4(1.0);
            }
        }
        arena[dst + i] = value;
    }
}
