// Activations in f16, divided by the largest of their chunk: of four tokens together, two words for each of 32
// values, then their scales, and the sums of the halves times them: [chunk][four tokens][word]. They lie
// where other kernels have the cache. Dispatch: (64 chunks, 1, four tokens).

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 64u * group.x + local;
    if (index >= op.chunks) {
        return;
    }
    var src = vec4(0u);
    var most = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        src[i] = chunk_at(4u * group.z + i, index);
        most[i] = magnitude_of(src[i]);
    }
    let inverse = select(vec4(0.0), 1.0 / most, most > vec4(LEAST));
    let dst = (index * ((step.tokens + 3u) / 4u) + group.z) * PREPARED_WORDS;
    var sums = mat2x4<f32>();
    for (var j = 0u; j < 8u; j++) {
        // A column for each value, of four tokens.
        let four = transpose(mat4x4<f32>(arena[src.x + j], arena[src.y + j], arena[src.z + j], arena[src.w + j]));
        for (var k = 0u; k < 4u; k++) {
            let value = four[k] * inverse;
            let low = pack2x16float(value.xy);
            let high = pack2x16float(value.zw);
            // What is summed is what will be multiplied.
            sums[j / 4u] += vec4(unpack2x16float(low), unpack2x16float(high));
            cache[dst + 8u * j + 2u * k] = low;
            cache[dst + 8u * j + 2u * k + 1u] = high;
        }
    }
    for (var i = 0u; i < 4u; i++) {
        cache[dst + 64u + i] = select(bitcast<u32>(most[i]), NOT_A_NUMBER, most[i] < 0.0);
        cache[dst + 68u + i] = bitcast<u32>(most[i] * sums[0][i]);
        cache[dst + 72u + i] = bitcast<u32>(most[i] * sums[1][i]);
    }
}
