// Planes: nibbles, fifth bits, bytes of scale and minimum for 32 values, f16 pairs for 256.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    add_bits(&c, words[planes.y + index], 16.0);
    let pair = scale_and_minimum(planes.z, planes.w, index);
    c.scale = both(pair.x);
    c.minimum = both(pair.y);
    return c;
}
