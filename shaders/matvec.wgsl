// Matrix·vector for decode. Four rows are the work of `op.lanes` invocations beside each other: each has every
// `lanes`-th chunk of all four, so that invocations beside each other load quads of a plane beside each other
// (with planes of 16 bytes a chunk, as nibbles are), and each has at least eight loads in flight. The plan
// takes as many lanes as a row has chunks, 64 at most: where rows are short a workgroup has more of them, and
// none of its 256 invocations idles. All rows of a workgroup (16 or more) share the source, which passes
// through workgroup memory, `lanes` chunks at a time, with loads beside each other too; there it is
// multiplied by the norm's weights, and its squares are summed up, where the source is to be normalised.
// Up to three matrices of one format run in one dispatch, or gate and up with their activation.
// Dispatch: (256 / lanes blocks of four rows, rest of the blocks, tokens × experts in use, unless their
// results are summed up).

// [quad of a chunk][chunk of the tile]; see `bank`.
var<workgroup> x: array<vec4<f32>, 512>;

// Quads of one chunk are written by invocations beside each other: they go to different banks of memory.
fn bank(quad: u32, lane: u32) -> u32 {
    return 64u * quad + (lane ^ quad);
}

// Loads the chunks from `first` on that the lanes are going to multiply. What it saw of them: the squares.
fn load_source(src: u32, first: u32, local: u32) -> f32 {
    var squares = 0.0;
    let count = 8u * min(op.lanes, op.chunks - first);
    for (var i = local; i < count; i += MATVEC_THREADS) {
        let at = 8u * first + i;
        var value = arena[src + at];
        if (op.norm != NONE) {
            squares += dot(value, value);
            value *= bitcast<vec4<f32>>(quads[op.norm / 4u + at]);
        }
        x[bank(i % 8u, i / 8u)] = value;
    }
    return squares;
}

// A chunk of the source, and the sums of its halves.
struct Input {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    sums: vec2<f32>,
}

fn input(lane: u32) -> Input {
    var c: Input;
    for (var j = 0u; j < 4u; j++) {
        c.a[j] = x[bank(j, lane)];
        c.b[j] = x[bank(j + 4u, lane)];
    }
    let one = vec4(1.0);
    c.sums = vec2(dot(c.a[0] + c.a[1] + c.a[2] + c.a[3], one), dot(c.b[0] + c.b[1] + c.b[2] + c.b[3], one));
    return c;
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

// Value `at` of a token's choice of experts: their numbers, then their weights.
fn chosen(token: u32, at: u32) -> f32 {
    let quad = arena[op.choice + token * op.choice_stride + at / 4u];
    return quad[at & 3u];
}

fn choice_weight(token: u32, rank: u32) -> f32 {
    return chosen(token, op.used + rank);
}

// Four rows of a job times a token's source, finished: by its expert of this rank, if there are experts. All
// invocations of the workgroup come here together; lane 0 has the sum.
fn rows_of(
    all: Job,
    row: u32,
    has_rows: bool,
    token: u32,
    rank: u32,
    lane: u32,
    local: u32,
    subgroup: u32,
) -> vec4<f32> {
    var job = all;
    var first = job.first_row;
    var scale_at = job.scale;
    var src = row_of(op.src, op.src_stride, op.src_residual, token);
    if (op.choice != NONE) {
        let expert = u32(chosen(token, rank));
        first += expert * job.rows;
        scale_at = select(job.scale + expert, NONE, job.scale == NONE);
        job.bias = select(job.bias + expert * job.rows, NONE, job.bias == NONE);
        src += select(rank * (op.width / 4u), 0u, op.form == SHARED);
    }

    var squares = 0.0;
    var sum = vec4(0.0);
    var up = vec4(0.0);
    for (var tile = 0u; tile < op.chunks; tile += op.lanes) {
        squares += load_source(src, tile, local);
        workgroupBarrier();
        let index = tile + lane;
        if (has_rows && index < op.chunks) {
            let c = input(lane);
            sum += four_rows(job, first, row, index, c);
            if (op.gate != 0u) {
                up += four_rows(op.job[1], first - job.first_row + op.job[1].first_row, row, index, c);
            }
        }
        workgroupBarrier();
    }
    var magnitude = 1.0;
    if (op.norm != NONE) {
        magnitude = inverseSqrt(sum_of(vec4(squares), local, MATVEC_THREADS, subgroup).x / f32(op.width) + op.epsilon);
    }
    sum = sum_of(sum, local, op.lanes, subgroup) * magnitude;
    if (op.gate != 0u) {
        up = sum_of(up, local, op.lanes, subgroup) * magnitude;
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
    return result;
}

@compute @workgroup_size(MATVEC_THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup: u32,
#endif
) {
    let lane = local % op.lanes;
    let own = local / op.lanes;
    var block = op.first_block + (group.y * groups.x + group.x) * (MATVEC_THREADS / op.lanes) + own;
    var number = 0u;
    if (op.gate == 0u) {
        while (number < op.jobs && block >= (op.job[number].rows + 3u) / 4u) {
            block -= (op.job[number].rows + 3u) / 4u;
            number++;
        }
    }
    // Invocations beyond the last row help to load the source.
    let job = op.job[min(number, op.jobs - 1u)];
    let row = 4u * block;
    let has_rows = number < op.jobs && row < job.rows;

    // The experts of a token run beside each other, or, where their results are summed up, one after the other.
    let is_summed = op.form == SUMMED;
    let token = select(group.z / op.used, group.z, is_summed);
    let first_rank = select(group.z % op.used, 0u, is_summed);
    let end_rank = select(first_rank + 1u, op.used, is_summed);
    var result = vec4(0.0);
    for (var rank = first_rank; rank < end_rank; rank++) {
        let value = rows_of(job, row, has_rows, token, rank, lane, local, subgroup);
        result += select(value, value * choice_weight(token, rank), is_summed);
    }
    if (lane != 0u || !has_rows) {
        return;
    }
    let dst = row_of(job.dst, job.dst_stride, (job.flags >> RESIDUAL_SHIFT) & 1u, token);
    store(job, dst + select(first_rank * (job.rows / 4u), 0u, is_summed) + block, result);
}
