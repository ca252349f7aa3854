// A selective scan over a matrix of each head, S = S · e^(Δ · rate) + Δ · input ⊗ key, and what it gives to a query,
// S · query + skip · input, with Δ = softplus(step + bias). Dispatch: (64 rows of all heads, 1, 1).

struct Op {
    // Quads.
    input: u32,
    input_stride: u32,
    step: u32,
    step_stride: u32,
    key: u32,
    key_stride: u32,
    query: u32,
    query_stride: u32,
    dst: u32,
    dst_stride: u32,
    heads: u32,
    rows: u32,
    columns: u32,
    groups: u32,
    // Words: a value for each head, or NONE; one for each head, or for each column of each; one for each head.
    bias: u32,
    rate: u32,
    skip: u32,
    rates: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(ROWS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = ROWS * group.x + local;
    let has_row = number < op.heads * op.rows;
    let row = min(number, op.heads * op.rows - 1u);
    let head = row / op.rows;
    let shared_at = head / (op.heads / op.groups) * op.columns;
    let first = row * op.columns;
    var bias = 0.0;
    if (op.bias != NONE) {
        bias = weight(op.bias + head);
    }
    let skip = weight(op.skip + head);
    if (step.position == 0u && has_row) {
        clear(first, op.columns);
    }
    for (var token = 0u; token < step.tokens; token++) {
        if (has_row) {
            let width = softplus(value_at(op.step, op.step_stride, token, head) + bias);
            let input = value_at(op.input, op.input_stride, token, row);
            var fade = exp(width * weight(op.rate + head * op.rates));
            var sum = skip * input;
            for (var c = 0u; c < op.columns; c++) {
                if (op.rates > 1u) {
                    fade = exp(width * weight(op.rate + head * op.rates + c));
                }
                let key = value_at(op.key, op.key_stride, token, shared_at + c);
                let state = state_at(first + c) * fade + width * input * key;
                cache[first + c] = bitcast<u32>(state);
                sum += state * value_at(op.query, op.query_stride, token, shared_at + c);
            }
            given[local / 4u][local & 3u] = sum;
        }
        put(op.dst + token * op.dst_stride, group.x, local, op.heads * op.rows);
    }
}
