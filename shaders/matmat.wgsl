// Matrix·matrix: a workgroup computes 64 rows for 64 tokens, each of its 256 invocations 4 × 4 of them, 32
// values of the rows at a time. How a tile lies in workgroup memory and is multiplied is the business of
// shared/tile*.wgsl, one for each arithmetic. Rows and tokens of a register tile lie 16 apart there, so that
// invocations beside each other read quads beside each other. Dispatch: (blocks of 64 rows, rest of the
// blocks, blocks of 64 tokens).

// Where a row or token of the tile lies.
fn spread(i: u32) -> u32 {
    return (i % 4u) * 16u + i / 4u;
}

// The chunk of a row of the tile, for rows beyond the end the last one's.
fn chunk_of(job: Job, row: u32, index: u32) -> u32 {
    return (min(row, job.rows - 1u) + job.first_row) * op.chunks + index;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let job = op.job[0];
    let first = 64u * (op.first_block + group.y * groups.x + group.x);
    if (first >= job.rows) {
        return;
    }
    let first_token = 64u * group.z;
    let rows = local % 16u;
    let tokens = local / 16u;
    var sums = mat4x4<f32>();

    for (var index = 0u; index < op.chunks; index++) {
        load_weights(job, first, index, local);
        load_tokens(first_token, index, local);
        workgroupBarrier();
        sums += products(rows, tokens);
        workgroupBarrier();
    }

    var scale = 1.0;
    if (job.scale != NONE) {
        scale = weight(job.scale);
    }
    let row = first + 4u * rows;
    for (var t = 0u; t < 4u; t++) {
        let token = first_token + 4u * tokens + t;
        if (row < job.rows && token < step.tokens) {
            let dst = row_of(job.dst, job.dst_stride, (job.flags >> RESIDUAL_SHIFT) & 1u, token);
            store(job, dst + row / 4u, finish(job, sums[t], row, scale));
        }
    }
}
