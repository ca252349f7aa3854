// States that are a matrix for each head, [head][row][column] in f32, where other kernels have the cache. Rows
// are independent of one another: an invocation has one, over all tokens of the batch.

const ROWS: u32 = 64u;

// What the rows of a workgroup give for a token; it goes out in quads.
var<workgroup> given: array<vec4<f32>, ROWS / 4u>;

// A value of a state.
fn state_at(at: u32) -> f32 {
    return bitcast<f32>(cache[at]);
}

fn value_at(slot: u32, stride: u32, token: u32, at: u32) -> f32 {
    return arena[slot + token * stride + at / 4u][at & 3u];
}

// ln(1 + eˣ), which is x where that is large.
fn softplus(x: f32) -> f32 {
    if (x > 20.0) {
        return x;
    }
    let y = exp(x);
    // The logarithm's series, where adding one would lose what y is.
    return select(log(1.0 + y), y * (1.0 - y * (0.5 - y / 3.0)), y < 0.004);
}

// Before the first position nothing is past.
fn clear(first: u32, columns: u32) {
    for (var c = 0u; c < columns; c++) {
        cache[first + c] = 0u;
    }
}

// Puts what the rows of a workgroup gave, of `rows` in all, into a row of the arena. All invocations come here together.
fn put(dst: u32, group: u32, local: u32, rows: u32) {
    workgroupBarrier();
    let quad = ROWS / 4u * group + local;
    if (local < ROWS / 4u && 4u * quad < rows) {
        arena[dst + quad] = given[local];
    }
    workgroupBarrier();
}
