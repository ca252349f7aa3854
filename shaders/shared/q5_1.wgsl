// Planes: nibbles, fifth bits, f16 pairs of scale and offset. value = scale · quant + offset.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    add_bits(&c, words[planes.y + index], 16.0);
    let pair = unpack2x16float(words[planes.z + index]);
    c.scale = both(pair.x);
    c.minimum = both(-pair.y);
    return c;
}
