// Matrix·vector: a workgroup computes four rows, its 64 invocations share the chunks of a row. With a norm
// the source is normalised on the way in; up to three matrices of one format run in one dispatch, or gate
// and up with their activation. Dispatch: (blocks of four rows, rest of the blocks, tokens × experts in use).

// A chunk of the source, and the sums of its halves.
struct Input {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    sums: vec2<f32>,
}

fn input(src: u32, index: u32, norm: u32) -> Input {
    let at = src + 8u * index;
    var x: Input;
    x.a = mat4x4<f32>(arena[at], arena[at + 1u], arena[at + 2u], arena[at + 3u]);
    x.b = mat4x4<f32>(arena[at + 4u], arena[at + 5u], arena[at + 6u], arena[at + 7u]);
    if (norm != NONE) {
        let w = norm + 32u * index;
        for (var j = 0u; j < 4u; j++) {
            x.a[j] *= vec4(weight(w + 4u * j), weight(w + 4u * j + 1u), weight(w + 4u * j + 2u), weight(w + 4u * j + 3u));
            x.b[j] *= vec4(weight(w + 4u * j + 16u), weight(w + 4u * j + 17u), weight(w + 4u * j + 18u), weight(w + 4u * j + 19u));
        }
    }
    let one = vec4(1.0);
    x.sums = vec2(dot(x.a[0] + x.a[1] + x.a[2] + x.a[3], one), dot(x.b[0] + x.b[1] + x.b[2] + x.b[3], one));
    return x;
}

fn product(c: Chunk, x: Input) -> f32 {
    let a = dot(c.a[0], x.a[0]) + dot(c.a[1], x.a[1]) + dot(c.a[2], x.a[2]) + dot(c.a[3], x.a[3]);
    let b = dot(c.b[0], x.b[0]) + dot(c.b[1], x.b[1]) + dot(c.b[2], x.b[2]) + dot(c.b[3], x.b[3]);
    return dot(c.scale, vec2(a, b)) - dot(c.minimum, x.sums);
}

// Four rows of a job times one chunk of the source. Rows beyond the end repeat the last.
fn four_rows(job: Job, first: u32, row: u32, index: u32, x: Input) -> vec4<f32> {
    let r = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(job.rows - 1u)) + vec4(first);
    let at = r * op.chunks + vec4(index);
    return vec4(
        product(chunk(job.planes, at.x), x),
        product(chunk(job.planes, at.y), x),
        product(chunk(job.planes, at.z), x),
        product(chunk(job.planes, at.w), x),
    );
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    //SUBGROUPS @builtin(subgroup_size) subgroup_size: u32,
    //SUBGROUPS @builtin(subgroup_invocation_id) subgroup_lane: u32,
    //SUBGROUPS @builtin(num_subgroups) subgroup_count: u32,
    //SUBGROUPS @builtin(subgroup_id) subgroup_number: u32,
) {
    //SUBGROUPS subgroup = vec4(subgroup_size, subgroup_lane, subgroup_count, subgroup_number);
    var block = op.first_block + group.y * groups.x + group.x;
    var number = 0u;
    if (op.gate == 0u) {
        while (number < op.jobs && block >= (op.job[number].rows + 3u) / 4u) {
            block -= (op.job[number].rows + 3u) / 4u;
            number++;
        }
        if (number == op.jobs) {
            return;
        }
    }
    let job = op.job[number];
    let row = 4u * block;
    if (row >= job.rows) {
        return;
    }

    let token = group.z / op.used;
    let rank = group.z % op.used;
    var first = job.first_row;
    var scale_at = job.scale;
    var src = row_of(op.src, op.src_stride, op.src_residual, token);
    var norm = op.norm;
    if (op.choice != NONE) {
        let choice = arena[op.choice + token * op.choice_stride + rank / 4u];
        let expert = u32(choice[rank & 3u]);
        first += expert * job.rows;
        scale_at = select(job.scale + expert, NONE, job.scale == NONE);
        src += select(rank * (op.width / 4u), 0u, op.shared_src == 1u);
    }

    var magnitude = 1.0;
    if (norm != NONE) {
        var squares = 0.0;
        for (var i = local; i < op.width / 4u; i += 64u) {
            squares += dot(arena[src + i], arena[src + i]);
        }
        magnitude = inverseSqrt(sum_of_64(vec4(squares), local).x / f32(op.width) + op.epsilon);
    }

    var sum = vec4(0.0);
    var up = vec4(0.0);
    for (var index = local; index < op.chunks; index += 64u) {
        let x = input(src, index, norm);
        sum += four_rows(job, first, row, index, x);
        if (op.gate != 0u) {
            up += four_rows(op.job[1], first - job.first_row + op.job[1].first_row, row, index, x);
        }
    }
    sum = sum_of_64(sum, local) * magnitude;
    if (op.gate != 0u) {
        up = sum_of_64(up, local) * magnitude;
    }
    if (local != 0u) {
        return;
    }

    var scale = 1.0;
    if (scale_at != NONE) {
        scale = weight(scale_at);
    }
    var result = finish(job, sum, row, scale);
    if (op.gate != 0u) {
        let other = op.job[1];
        var other_scale = 1.0;
        if (other.scale != NONE) {
            other_scale = weight(other.scale + select(scale_at - job.scale, 0u, op.choice == NONE));
        }
        result = activate(result) * finish(other, up, row, other_scale);
    }
    let dst = row_of(job.dst, job.dst_stride, (job.flags >> 2u) & 1u, token);
    store(job, dst + rank * (job.rows / 4u) + block, result);
}
