// Planes: nibbles, upper two bits, signed scales for 16 values, f16 scales for 256.
// value = scale · (quant − 32).
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = nibble_chunk(quads[planes.x / 4u + index]);
    c.a += crumbs(words[planes.y + 2u * index]) * 16.0;
    c.b += crumbs(words[planes.y + 2u * index + 1u]) * 16.0;
    c.scale = half_scales(planes.z, planes.w, index);
    c.minimum = 32.0 * c.scale;
    return c;
}
