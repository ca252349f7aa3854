// Planes: nibbles, fifth bits, f16 scales. value = scale · (quant − 16).
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    add_bits(&c, words[planes.y + index], 16.0);
    c.scale = both(half_at(planes.z, index));
    c.minimum = 16.0 * c.scale;
    return c;
}
