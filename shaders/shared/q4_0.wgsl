// Planes: nibbles, f16 scales. value = scale · (nibble − 8).
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    c.scale = both(half_at(planes.y, index));
    c.minimum = 8.0 * c.scale;
    return c;
}
