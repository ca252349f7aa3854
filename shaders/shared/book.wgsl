// Sixteen values above zero, those below it made so: bit i of `below` is that of value i.
fn with_signs(values: vec4<u32>, below: u32) -> vec4<u32> {
    let negative = bits(below);
    return (values ^ (negative * 255u)) + negative;
}

// The scales of a chunk's halves: a nibble each.
fn odd_scales(nibbles: u32) -> vec2<f32> {
    return vec2<f32>((vec2(nibbles << 1u, nibbles >> 3u) & vec2(30u)) + vec2(1u));
}

// Byte `index` of a plane of them.
fn byte_at(plane: u32, index: u32) -> u32 {
    return (words[plane + index / 4u] >> (8u * (index & 3u))) & 255u;
}
