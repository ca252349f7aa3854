// dst[t] = table[token(t)] · scale, or dst[t] += table[position(t)], or dst[t] += table[row]. The table may lie in several slabs, each with a dispatch of its own.
// Dispatch: (64 chunks, 1, tokens).

struct Op {
    planes: vec4<u32>,
    // The slab's first row and rows.
    first_row: u32,
    rows: u32,
    chunks: u32,
    scale: f32,
    // Quads: the tokens' numbers, or NONE for other rows, which are added: one for all, or NONE for those of positions.
    tokens: u32,
    row: u32,
    // Quads: where the rows go; the flag.
    dst: u32,
    dst_stride: u32,
    dst_residual: u32,
    flag: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

fn put(at: u32, row: vec4<f32>, joins: bool) {
    var value = row;
    if (joins) {
        value += arena[at];
    }
    if (!is_finite(value)) {
        arena[op.flag] = vec4(1.0);
    }
    arena[at] = value;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 64u * group.x + local;
    let joins = op.tokens == NONE;
    var row = select(op.row, step.position + group.z, op.row == NONE);
    if (!joins) {
        row = u32(arena[op.tokens + group.z / 4u][group.z & 3u]);
    }
    if (index >= op.chunks || row < op.first_row || row >= op.first_row + op.rows) {
        return;
    }
    let c = chunk(op.planes, (row - op.first_row) * op.chunks + index);
    let dst = row_of(op.dst, op.dst_stride, op.dst_residual, group.z) + 8u * index;
    for (var j = 0u; j < 4u; j++) {
        put(dst + j, (c.scale.x * c.a[j] - vec4(c.minimum.x)) * op.scale, joins);
        put(dst + 4u + j, (c.scale.y * c.b[j] - vec4(c.minimum.y)) * op.scale, joins);
    }
}
