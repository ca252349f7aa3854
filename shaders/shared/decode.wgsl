// A chunk of 32 weights: value = scale · quant − minimum, in halves of 16 with a scale each.
struct Chunk {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    scale: vec2<f32>,
    minimum: vec2<f32>,
}

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4(word, word >> 8u, word >> 16u, word >> 24u) & vec4(255u));
}

fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4(word << 24u, word << 16u, word << 8u, word)) >> vec4(24u));
}

fn low(word: u32) -> vec4<f32> {
    return bytes(word & 0x0f0f0f0fu);
}

fn high(word: u32) -> vec4<f32> {
    return bytes((word >> 4u) & 0x0f0f0f0fu);
}

// An f16 number of a plane of them.
fn half_at(plane: u32, index: u32) -> f32 {
    let pair = unpack2x16float(words[plane + index / 2u]);
    return select(pair.x, pair.y, (index & 1u) == 1u);
}

// A 16-bit half of a plane of words.
fn short_at(plane: u32, index: u32) -> u32 {
    return (words[plane + index / 2u] >> (16u * (index & 1u))) & 0xffffu;
}

// Nibbles of 32 values: word i has values 8i to 8i + 3 in its low nibbles and the next four in its high.
fn nibble_chunk(q: vec4<u32>) -> Chunk {
    var c: Chunk;
    c.a = mat4x4<f32>(low(q.x), high(q.x), low(q.y), high(q.y));
    c.b = mat4x4<f32>(low(q.z), high(q.z), low(q.w), high(q.w));
    return c;
}

fn both(value: f32) -> vec2<f32> {
    return vec2(value, value);
}

// Bit i of the word belongs to value i of 32: what it adds to quad `j`.
fn bit_quad(word: u32, j: u32, weight: f32) -> vec4<f32> {
    return vec4<f32>((vec4(word) >> (vec4(0u, 1u, 2u, 3u) + vec4(4u * j))) & vec4(1u)) * weight;
}

fn add_bits(c: ptr<function, Chunk>, word: u32, weight: f32) {
    (*c).a += mat4x4<f32>(bit_quad(word, 0u, weight), bit_quad(word, 1u, weight), bit_quad(word, 2u, weight), bit_quad(word, 3u, weight));
    (*c).b += mat4x4<f32>(bit_quad(word, 4u, weight), bit_quad(word, 5u, weight), bit_quad(word, 6u, weight), bit_quad(word, 7u, weight));
}

// Two-bit values of 16 weights: quad j lies in bits 2j of each byte.
fn crumbs(word: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        bytes(word & 0x03030303u),
        bytes((word >> 2u) & 0x03030303u),
        bytes((word >> 4u) & 0x03030303u),
        bytes((word >> 6u) & 0x03030303u),
    );
}

// Signed bytes of 32 values in two quads of words.
fn byte_chunk(plane: u32, index: u32) -> Chunk {
    let p = quads[plane / 4u + 2u * index];
    let q = quads[plane / 4u + 2u * index + 1u];
    var c: Chunk;
    c.a = mat4x4<f32>(signed_bytes(p.x), signed_bytes(p.y), signed_bytes(p.z), signed_bytes(p.w));
    c.b = mat4x4<f32>(signed_bytes(q.x), signed_bytes(q.y), signed_bytes(q.z), signed_bytes(q.w));
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
