// What RWKV keeps, a matrix of each head: S = S · e^decay − (S · removed) ⊗ added + value ⊗ key, and S · query goes out.
// Dispatch: (64 rows of all heads, 1, 1).

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
    // Quads, or NONE.
    removed: u32,
    added: u32,
    erase_stride: u32,
    dst: u32,
    dst_stride: u32,
    heads: u32,
    rows: u32,
    columns: u32,
    // Whether the matrix answers as it was.
    early: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(ROWS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = ROWS * group.x + local;
    let has_row = number < op.heads * op.rows;
    let row = min(number, op.heads * op.rows - 1u);
    let head = row / op.rows * op.columns;
    let first = row * op.columns;
    if (step.position == 0u && has_row) {
        clear(first, op.columns);
    }
    for (var token = 0u; token < step.tokens; token++) {
        if (has_row) {
            let value = value_at(op.value, op.value_stride, token, row);
            var erased = 0.0;
            if (op.removed != NONE) {
                for (var c = 0u; c < op.columns; c++) {
                    erased += state_at(first + c) * value_at(op.removed, op.erase_stride, token, head + c);
                }
            }
            var sum = 0.0;
            for (var c = 0u; c < op.columns; c++) {
                let before = state_at(first + c);
                var state = before * exp(max(value_at(op.decay, op.decay_stride, token, head + c), -80.0));
                if (op.added != NONE) {
                    state -= erased * value_at(op.added, op.erase_stride, token, head + c);
                }
                state += value * value_at(op.key, op.key_stride, token, head + c);
                cache[first + c] = bitcast<u32>(state);
                sum += select(state, before, op.early == 1u) * value_at(op.query, op.query_stride, token, head + c);
            }
            given[local / 4u][local & 3u] = sum;
        }
        put(op.dst + token * op.dst_stride, group.x, local, op.heads * op.rows);
    }
}
