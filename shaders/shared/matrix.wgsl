// The operands of a product, shared by matrix·vector and matrix·matrix.

// Rows of one matrix and where their products go.
struct Job {
    // Words at which the planes of the format begin.
    planes: vec4<u32>,
    first_row: u32,
    rows: u32,
    // Words of the bias's first value and of the scale.
    bias: u32,
    scale: u32,
    // Quads.
    dst: u32,
    dst_stride: u32,
    flags: u32,
    pad: u32,
}

struct Op {
    // Quads.
    src: u32,
    src_stride: u32,
    src_residual: u32,
    // Chunks of a row of the matrices, and values of the source's row.
    chunks: u32,
    width: u32,
    // Words of the norm's weights, if the source is normalised on the way in.
    norm: u32,
    epsilon: f32,
    jobs: u32,
    // 0, or which gate the first two jobs are gate and up of.
    gate: u32,
    // Quads of the experts' choice, experts in use, and 0 or what becomes of them.
    choice: u32,
    choice_stride: u32,
    used: u32,
    form: u32,
    // Where the group's flag of non-finite values is, in quads.
    flag: u32,
    first_block: u32,
    // Invocations of matrix·vector that share four rows: 8, 16, 32 or 64.
    lanes: u32,
    job: array<Job, 3>,
}

@group(0) @binding(5) var<uniform> op: Op;

fn activate(x: vec4<f32>) -> vec4<f32> {
    if (op.gate == GATE_SILU) {
        return x / (1.0 + exp(min(-x, vec4(80.0))));
    }
    // The tanh approximation of GELU; tanh by exp, whose argument is bounded for the sake of overflow.
    let t = clamp(0.7978845608 * x * (1.0 + 0.044715 * x * x), vec4(-15.0), vec4(15.0));
    return x * (1.0 - 1.0 / (1.0 + exp(2.0 * t)));
}

fn bias_at(job: Job, row: u32) -> vec4<f32> {
    var bias = vec4(0.0);
    for (var i = 0u; i < 4u && row + i < job.rows; i++) {
        bias[i] = weight(job.bias + row + i);
    }
    return bias;
}

// (W·x)·scale + bias, or (W·x + bias)·scale, for four rows.
fn finish(job: Job, product: vec4<f32>, row: u32, scale: f32) -> vec4<f32> {
    var result = product;
    let bias_first = (job.flags & BIAS_FIRST) != 0u;
    if (!bias_first) {
        result *= scale;
    }
    if (job.bias != NONE) {
        result += bias_at(job, row);
    }
    if (bias_first) {
        result *= scale;
    }
    // Rows beyond the end are padding, and stay zero.
    return select(vec4(0.0), result, vec4(row) + vec4(0u, 1u, 2u, 3u) < vec4(job.rows));
}

fn store(job: Job, at: u32, value: vec4<f32>) {
    var result = value;
    if ((job.flags & ACCUMULATES) != 0u) {
        result += arena[at];
    }
    if (op.flag != NONE && !is_finite(result)) {
        arena[op.flag] = vec4(1.0);
    }
    arena[at] = result;
}
