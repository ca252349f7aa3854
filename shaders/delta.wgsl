// The gated delta rule over a matrix of each head: S = S · e^g, then S += β · (v − S·k) ⊗ k, and S · q goes out, with
// g = softplus(decay + bias) · rate and β = sigmoid(beta). Dispatch: (64 rows of all heads, 1, 1).

struct Op {
    // Quads.
    query: u32,
    query_stride: u32,
    key: u32,
    key_stride: u32,
    value: u32,
    value_stride: u32,
    decay: u32,
    decay_stride: u32,
    beta: u32,
    beta_stride: u32,
    dst: u32,
    dst_stride: u32,
    heads: u32,
    rows: u32,
    columns: u32,
    groups: u32,
    // Whether head h is of group h mod groups.
    interleaved: u32,
    // Words: a value for each decay, and one for each head.
    bias: u32,
    rate: u32,
    // Decays of a head: 1, or one for each column.
    decays: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(ROWS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = ROWS * group.x + local;
    let has_row = number < op.heads * op.rows;
    let row = min(number, op.heads * op.rows - 1u);
    let head = row / op.rows;
    let of_group = select(head / (op.heads / op.groups), head % op.groups, op.interleaved == 1u);
    let shared_at = of_group * op.columns;
    let first = row * op.columns;
    let rate = weight(op.rate + head);
    if (step.position == 0u && has_row) {
        clear(first, op.columns);
    }
    for (var token = 0u; token < step.tokens; token++) {
        if (has_row) {
            let beta = 1.0 / (1.0 + exp(min(-value_at(op.beta, op.beta_stride, token, head), 80.0)));
            var fade = 1.0;
            var answer = 0.0;
            for (var c = 0u; c < op.columns; c++) {
                if (c < op.decays) {
                    let at = head * op.decays + c;
                    fade = exp(softplus(value_at(op.decay, op.decay_stride, token, at) + weight(op.bias + at)) * rate);
                }
                let state = state_at(first + c) * fade;
                cache[first + c] = bitcast<u32>(state);
                answer += state * value_at(op.key, op.key_stride, token, shared_at + c);
            }
            let missing = beta * (value_at(op.value, op.value_stride, token, row) - answer);
            var sum = 0.0;
            for (var c = 0u; c < op.columns; c++) {
                let key = value_at(op.key, op.key_stride, token, shared_at + c);
                let state = state_at(first + c) + missing * key;
                cache[first + c] = bitcast<u32>(state);
                sum += state * value_at(op.query, op.query_stride, token, shared_at + c);
            }
            given[local / 4u][local & 3u] = sum;
        }
        put(op.dst + token * op.dst_stride, group.x, local, op.heads * op.rows);
    }
}
