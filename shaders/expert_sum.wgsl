// dst[t] += Σ_j weight j · src[t][j]. Dispatch: (64 quads, 1, tokens).

struct Op {
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    src: u32,
    src_stride: u32,
    quads: u32,
    choice: u32,
    choice_stride: u32,
    used: u32,
    flag: u32,
    pad: vec2<u32>,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = 64u * group.x + local;
    if (i >= op.quads) {
        return;
    }
    let at = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + i;
    var value = arena[at];
    for (var j = 0u; j < op.used; j++) {
        let index = op.used + j;
        let weight = arena[op.choice + group.z * op.choice_stride + index / 4u][index & 3u];
        value += weight * arena[op.src + group.z * op.src_stride + j * op.quads + i];
    }
    if (!is_finite(value)) {
        arena[op.flag] = vec4(1.0);
    }
    arena[at] = value;
}
