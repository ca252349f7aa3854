// Matrix·matrix: a workgroup computes 64 rows for 64 tokens, each of its 256 invocations 4 × 4 of them.
// Dispatch: (blocks of 64 rows, rest of the blocks, blocks of 64 tokens).

// [quad of values][row], and [quad of values][token].
var<workgroup> w: array<vec4<f32>, 512>;
var<workgroup> x: array<vec4<f32>, 512>;

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
    // Rows lie so that invocations beside each other read quads beside each other.
    let rows = local % 16u;
    let tokens = local / 16u;
    var sums = mat4x4<f32>();

    for (var index = 0u; index < op.chunks; index++) {
        if (local < 64u) {
            let row = min(first + local, job.rows - 1u) + job.first_row;
            let c = chunk(job.planes, row * op.chunks + index);
            let at = (local % 4u) * 16u + local / 4u;
            for (var j = 0u; j < 4u; j++) {
                w[j * 64u + at] = c.scale.x * c.a[j] - vec4(c.minimum.x);
                w[(j + 4u) * 64u + at] = c.scale.y * c.b[j] - vec4(c.minimum.y);
            }
        } else {
            for (var i = local - 64u; i < 512u; i += 192u) {
                let token = min(first_token + i / 8u, step.tokens - 1u);
                let src = row_of(op.src, op.src_stride, op.src_residual, token);
                let at = (i / 8u % 4u) * 16u + i / 32u;
                x[(i % 8u) * 64u + at] = arena[src + 8u * index + i % 8u];
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            let at = k * 64u;
            let w0 = w[at + rows];
            let w1 = w[at + 16u + rows];
            let w2 = w[at + 32u + rows];
            let w3 = w[at + 48u + rows];
            for (var t = 0u; t < 4u; t++) {
                let v = x[at + 16u * t + tokens];
                sums[t] += vec4(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
            }
        }
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
            let dst = row_of(job.dst, job.dst_stride, (job.flags >> 2u) & 1u, token);
            store(job, dst + row / 4u, finish(job, sums[t], row, scale));
        }
    }
}
