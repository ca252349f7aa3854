// Runs of values of one row into another, whose other values stay. Dispatch: (64 quads of dst, 1, tokens).

struct Op {
    // Quads.
    src: u32,
    src_stride: u32,
    src_residual: u32,
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    quads: u32,
    // Values: of a run, runs, where the first begins and how far apart they are.
    run: u32,
    count: u32,
    from_first: u32,
    from_step: u32,
    to_first: u32,
    to_step: u32,
    flag: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = 64u * group.x + local;
    if (i >= op.quads) {
        return;
    }
    let src = row_of(op.src, op.src_stride, op.src_residual, group.z);
    let dst = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + i;
    var value = arena[dst];
    for (var j = 0u; j < 4u; j++) {
        let at = 4u * i + j;
        if (at < op.to_first) {
            continue;
        }
        let number = (at - op.to_first) / op.to_step;
        let within = (at - op.to_first) % op.to_step;
        if (number < op.count && within < op.run) {
            let from_value = op.from_first + number * op.from_step + within;
            value[j] = arena[src + from_value / 4u][from_value & 3u];
        }
    }
    if (op.dst_residual == 1u && !is_finite(value)) {
        arena[op.flag] = vec4(1.0);
    }
    arena[dst] = value;
}
