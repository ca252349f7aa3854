// Activations as 8-bit integers: of each chunk of a token, 32 bytes in eight words, then their scale, the sums
// of the halves times it, and a word of padding: [chunk][token][word]. They lie where other kernels have
// the cache. Dispatch: (64 chunks, 1, four tokens).

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 64u * group.x + local;
    if (index >= op.chunks) {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let token = 4u * group.z + i;
        let src = chunk_at(token, index);
        let dst = (index * ((step.tokens + 3u) / 4u) * 4u + token) * PREPARED_WORDS;
        let most = magnitude_of(src);
        let inverse = select(0.0, 127.0 / most, most > LEAST);
        var sums = vec2(0);
        for (var j = 0u; j < 8u; j++) {
            let q = vec4<i32>(round(arena[src + j] * inverse));
            sums[j / 4u] += q.x + q.y + q.z + q.w;
            let byte = (bitcast<vec4<u32>>(q) & vec4(255u)) << vec4(0u, 8u, 16u, 24u);
            cache[dst + j] = byte.x | byte.y | byte.z | byte.w;
        }
        let scale = most / 127.0;
        cache[dst + 8u] = select(bitcast<u32>(scale), NOT_A_NUMBER, most < 0.0);
        cache[dst + 9u] = bitcast<u32>(scale * f32(sums.x));
        cache[dst + 10u] = bitcast<u32>(scale * f32(sums.y));
    }
}
