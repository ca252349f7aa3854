// Planes: nibbles, bytes of scale and minimum for 32 values, f16 pairs for 256.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    let pair = scale_and_minimum(planes.y, planes.z, index);
    c.scale = both(pair.x);
    c.minimum = both(pair.y);
    return c;
}
