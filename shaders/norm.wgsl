// Every `width` values on their own: dst = or += src / sqrt(mean(src²) + epsilon) · weight.
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
    pad: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    //SUBGROUPS @builtin(subgroup_size) subgroup: u32,
) {
    let first = group.x * op.width / 4u;
    let src = row_of(op.src, op.src_stride, op.src_residual, group.z) + first;
    let dst = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + first;
    var squares = 0.0;
    for (var i = local; i < op.width / 4u; i += 64u) {
        squares += dot(arena[src + i], arena[src + i]);
    }
    let magnitude = inverseSqrt(sum_of(vec4(squares), local, 64u, subgroup).x / f32(op.width) + op.epsilon);
    for (var i = local; i < op.width / 4u; i += 64u) {
        let w = op.weights + 4u * i;
        var value = arena[src + i] * magnitude * vec4(weight(w), weight(w + 1u), weight(w + 2u), weight(w + 3u));
        if (op.add == 1u) {
            value += arena[dst + i];
            if (!is_finite(value)) {
                arena[op.flag] = vec4(1.0);
            }
        }
        arena[dst + i] = value;
    }
}
