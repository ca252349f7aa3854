// Planes: nibbles, f16 pairs of scale and offset. value = scale · nibble + offset.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    let pair = unpack2x16float(words[planes.y + index]);
    c.scale = both(pair.x);
    c.minimum = both(-pair.y);
    return c;
}
