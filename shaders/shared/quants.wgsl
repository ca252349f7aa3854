// Block formats: a format's own `quants` gives the 32 quants of a chunk as bytes, four to a word in their
// order, and its `values` tells whether the bytes are signed. Everything else follows from that.

struct Quants {
    a: vec4<u32>,
    b: vec4<u32>,
    scale: vec2<f32>,
    minimum: vec2<f32>,
}

fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    let q = quants(planes, index);
    var c: Chunk;
    c.a = mat4x4<f32>(values(q.a.x), values(q.a.y), values(q.a.z), values(q.a.w));
    c.b = mat4x4<f32>(values(q.b.x), values(q.b.y), values(q.b.z), values(q.b.w));
    c.scale = q.scale;
    c.minimum = q.minimum;
    return c;
}

// Eight weights, a quarter of a chunk.
fn eight(planes: vec4<u32>, index: u32, quarter: u32) -> mat2x4<f32> {
    let q = quants(planes, index);
    let half = select(q.a, q.b, quarter >= 2u);
    let two = select(half.xy, half.zw, (quarter & 1u) == 1u);
    let scale = select(q.scale.x, q.scale.y, quarter >= 2u);
    let minimum = vec4(select(q.minimum.x, q.minimum.y, quarter >= 2u));
    return mat2x4<f32>(scale * values(two.x) - minimum, scale * values(two.y) - minimum);
}

// Nibbles of 32 values: word i has values 8i to 8i + 3 in its low nibbles and the next four in its high.
fn nibbles(q: vec4<u32>) -> Quants {
    let low = q & vec4(0x0f0f0f0fu);
    let high = (q >> vec4(4u)) & vec4(0x0f0f0f0fu);
    var c: Quants;
    c.a = vec4(low.x, high.x, low.y, high.y);
    c.b = vec4(low.z, high.z, low.w, high.w);
    return c;
}

// Two-bit values of 16 weights: quad j lies in bits 2j of each byte.
fn crumbs(word: u32) -> vec4<u32> {
    return (vec4(word) >> vec4(0u, 2u, 4u, 6u)) & vec4(0x03030303u);
}

// Sixteen bits, one to a byte. The factor puts copies of four bits 7 apart, so that each meets a byte's begin.
fn bits(word: u32) -> vec4<u32> {
    let fours = (vec4(word) >> vec4(0u, 4u, 8u, 12u)) & vec4(15u);
    return (fours * 0x00204081u) & vec4(0x01010101u);
}

// Signed bytes of 32 values in two quads of words.
fn whole_bytes(plane: u32, index: u32) -> Quants {
    var c: Quants;
    c.a = quads[plane / 4u + 2u * index];
    c.b = quads[plane / 4u + 2u * index + 1u];
    return c;
}

// The scales of Q3_K and Q6_K: a signed byte for each half, times the block's f16.
fn half_scales(plane: u32, blocks: u32, index: u32) -> vec2<f32> {
    return signed_bytes(short_at(plane, index)).xy * half_at(blocks, index / 8u);
}

// The scale and minimum of Q4_K and Q5_K: bytes of a sub-block, times the block's f16 pair.
fn scale_and_minimum(plane: u32, blocks: u32, index: u32) -> vec2<f32> {
    return bytes(short_at(plane, index)).xy * unpack2x16float(words[blocks + index / 8u]);
}
