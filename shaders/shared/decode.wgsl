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

fn both(value: f32) -> vec2<f32> {
    return vec2(value, value);
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
