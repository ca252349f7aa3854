// Grouped-query attention with online softmax for a prompt: a workgroup has a tile of `op.rows`
// queries of one key head. A row is a head of a token, row = token · group + head, so that neighbours see
// nearly the same positions. Keys and values pass through workgroup memory once for all rows of the tile,
// 32 positions at a time. Dispatch: (key heads, 1, tiles), from op.first_head and op.first on.
//
// What fits: rows · (head_dim in eights of quads) ≤ QUERY_QUADS, and rows / 4 · quads of values ≤
// 128, one invocation each. The plan chooses the rows by that; all memory together is below 16 KiB.

const LOWEST: f32 = -3.0e38;
const POSITIONS: u32 = 32u;
// Quads of a key that are looked at together, in how many words they are, and how far apart keys lie, so that
// invocations beside each other meet different banks of memory. Scores of a row lie apart likewise.
const SLICE: u32 = 8u;
#if F16
const SLICE_WORDS: u32 = 16u;
const KEY_STRIDE: u32 = 17u;
#endif
#if Q8_0
const SLICE_WORDS: u32 = 9u;
const KEY_STRIDE: u32 = 9u;
#endif
const SCORE_STRIDE: u32 = 33u;
const VALUE_WORDS: u32 = 512u;

// [row][quad], padded to whole slices.
var<workgroup> q: array<vec4<f32>, QUERY_QUADS>;
// A slice of the keys, [position][word], or the rows of values of some positions.
var<workgroup> stage: array<u32, 544>;
// [row][position]: scores, then their exponentials.
var<workgroup> scores: array<f32, 1056>;
var<workgroup> partial: array<f32, TILE_THREADS>;
var<workgroup> fades: array<f32, 32>;

#if F16
// A word of a slice of a key's row.
fn key_word(row: u32, slice: u32, i: u32) -> u32 {
    let word = slice * SLICE_WORDS + i;
    return select(0u, cache[row + word], word < op.head_dim / 2u);
}

// A quad of a slice that begins there in the stage.
fn staged_key(slice: u32, i: u32) -> vec4<f32> {
    return vec4(unpack2x16float(stage[slice + 2u * i]), unpack2x16float(stage[slice + 2u * i + 1u]));
}

// A quad of a row of values that begins there in the stage; of the last one there may be a half.
fn staged_value(row: u32, quad: u32) -> vec4<f32> {
    let first = unpack2x16float(stage[row + 2u * quad]);
    if (2u * quad + 1u < op.value_dim / 2u) {
        return vec4(first, unpack2x16float(stage[row + 2u * quad + 1u]));
    }
    return vec4(first, 0.0, 0.0);
}
#endif
#if Q8_0
// A word of a slice of a key's row; the last one is the scale, in f32.
fn key_word(row: u32, slice: u32, i: u32) -> u32 {
    if (i == SLICE) {
        return bitcast<u32>(scale_at(row, op.head_dim, slice));
    }
    return cache[row + slice * SLICE + i];
}

// A quad of a slice that begins there in the stage.
fn staged_key(slice: u32, i: u32) -> vec4<f32> {
    return bitcast<f32>(stage[slice + SLICE]) * signed_bytes(stage[slice + i]);
}

// A quad of a row of values that begins there in the stage.
fn staged_value(row: u32, quad: u32) -> vec4<f32> {
    let block = quad / 8u;
    return scale_of(stage[row + op.value_dim / 4u + block / 2u], block) * signed_bytes(stage[row + quad]);
}
#endif

fn query_at(row: u32, at: u32) -> f32 {
    return arena[row + at / 4u][at & 3u];
}

// The queries of the tile, scaled; what is beyond the head or the batch is zero.
fn load_queries(local: u32, kv_head: u32, first_row: u32, quads: u32) {
    for (var i = local; i < op.rows * quads; i += TILE_THREADS) {
        let number = first_row + i / quads;
        let token = number / op.group;
        var value = vec4(0.0);
        if (token < step.tokens) {
            let head = kv_head * op.group + number % op.group;
            let row = op.query + token * op.query_stride;
            let first = 4u * (i % quads);
            for (var j = 0u; j < 4u; j++) {
                if (first + j < op.head_dim) {
                    value[j] = query_at(row, head * op.head_dim + first + j);
                }
            }
        }
        q[i] = value * op.scale;
    }
}

@compute @workgroup_size(TILE_THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let kv_head = op.first_head + group.x;
    let first_row = (op.first + group.z) * op.rows;
    // Positions that any row of the tile sees.
    let last_token = min((first_row + op.rows - 1u) / op.group, step.tokens - 1u);
    let to_position = end_seen(step.position + last_token);
    let from_position = first_seen(step.position + first_row / op.group);

    let slices = (op.head_dim + 4u * SLICE - 1u) / (4u * SLICE);
    let quads = slices * SLICE;
    let key_words = row_words(op.head_dim);
    let value_words = row_words(op.value_dim);
    load_queries(local, kv_head, first_row, quads);

    // For scores an invocation has one position and every fourth row; for the softmax `lanes` invocations
    // share a row; for the values an invocation has four rows and a quad of the head.
    let position_of = local % POSITIONS;
    let row_of_scores = local / POSITIONS;
    let lanes = TILE_THREADS / op.rows;
    let row_of_softmax = local / lanes;
    let lane = local % lanes;
    let value_quads = (op.value_dim + 3u) / 4u;
    let column = local % value_quads;
    let four_rows = 4u * (local / value_quads);
    let staged = VALUE_WORDS / value_words;

    let own_token = (first_row + row_of_softmax) / op.group;
    let own_end = end_seen(step.position + own_token);
    let own_start = first_seen(step.position + own_token);
    var highest = LOWEST;
    var sum = 0.0;
    if (op.sinks != NONE) {
        highest = weight(op.sinks + kv_head * op.group + (first_row + row_of_softmax) % op.group);
        sum = select(0.0, 1.0, lane == 0u);
    }
    var result = mat4x4<f32>();

    for (var tile = from_position; tile < to_position; tile += POSITIONS) {
        var products = array<f32, 8>();
        for (var slice = 0u; slice < slices; slice++) {
            workgroupBarrier();
            for (var i = local; i < POSITIONS * SLICE_WORDS; i += TILE_THREADS) {
                let position = tile + i / SLICE_WORDS;
                var word = 0u;
                if (position < to_position) {
                    word = key_word((kv_head * op.context + position) * key_words, slice, i % SLICE_WORDS);
                }
                stage[i / SLICE_WORDS * KEY_STRIDE + i % SLICE_WORDS] = word;
            }
            workgroupBarrier();
            for (var i = 0u; i < SLICE; i++) {
                let key = staged_key(position_of * KEY_STRIDE, i);
                for (var j = 0u; j < 8u; j++) {
                    let row = row_of_scores + 4u * j;
                    if (row < op.rows) {
                        products[j] += dot(q[row * quads + slice * SLICE + i], key);
                    }
                }
            }
        }
        for (var j = 0u; j < 8u; j++) {
            let row = row_of_scores + 4u * j;
            if (row < op.rows) {
                let number = first_row + row;
                let head = kv_head * op.group + number % op.group;
                // Positions that the row does not see are left out below.
                let own = step.position + number / op.group;
                let at = tile + position_of;
                let distance = max(own, at) - min(own, at);
                scores[row * SCORE_STRIDE + position_of] = adjusted(products[j], head, distance);
            }
        }
        workgroupBarrier();

        let scores_of = row_of_softmax * SCORE_STRIDE;
        let before = highest;
        for (var i = lane; i < POSITIONS; i += lanes) {
            if (tile + i >= own_start && tile + i < own_end) {
                highest = max(highest, scores[scores_of + i]);
            }
        }
        partial[local] = highest;
        workgroupBarrier();
        for (var i = 0u; i < lanes; i++) {
            highest = max(highest, partial[row_of_softmax * lanes + i]);
        }
        let fade = exp(before - highest);
        sum *= fade;
        for (var i = lane; i < POSITIONS; i += lanes) {
            var share = 0.0;
            if (tile + i >= own_start && tile + i < own_end) {
                share = exp(scores[scores_of + i] - highest);
            }
            scores[scores_of + i] = share;
            sum += share;
        }
        if (lane == 0u) {
            fades[row_of_softmax] = fade;
        }
        workgroupBarrier();

        if (four_rows < op.rows) {
            for (var j = 0u; j < 4u; j++) {
                result[j] *= fades[four_rows + j];
            }
        }
        let count = min(POSITIONS, to_position - tile);
        for (var first = 0u; first < count; first += staged) {
            let here = min(staged, count - first);
            workgroupBarrier();
            for (var i = local; i < here * value_words; i += TILE_THREADS) {
                stage[i] = cache[op.values + (kv_head * op.context + tile + first) * value_words + i];
            }
            workgroupBarrier();
            if (four_rows < op.rows) {
                for (var p = 0u; p < here; p++) {
                    let value = staged_value(p * value_words, column);
                    for (var j = 0u; j < 4u; j++) {
                        result[j] += scores[(four_rows + j) * SCORE_STRIDE + first + p] * value;
                    }
                }
            }
        }
    }

    workgroupBarrier();
    partial[local] = sum;
    workgroupBarrier();
    for (var j = 0u; j < 4u; j++) {
        let number = first_row + four_rows + j;
        let token = number / op.group;
        if (four_rows < op.rows && token < step.tokens) {
            var total = 0.0;
            for (var i = 0u; i < lanes; i++) {
                total += partial[(four_rows + j) * lanes + i];
            }
            let head = kv_head * op.group + number % op.group;
            let out = op.dst + token * op.dst_stride;
            let first = head * op.value_dim + 4u * column;
            for (var i = 0u; i < 4u; i++) {
                if (4u * column + i < op.value_dim) {
                    arena[out + (first + i) / 4u][(first + i) & 3u] = result[j][i] / total;
                }
            }
        }
    }
}
