// Planes: nibbles, f16 scales.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = looked_up_chunk(quads[planes.x / 4u + index], IQ4);
    c.scale = both(half_at(planes.y, index));
    return c;
}
