// Planes: two-bit quants, third bits, signed scales for 16 values, f16 scales for 256.
// value = scale · (quant − 4).
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c: Chunk;
    c.a = crumbs(words[planes.x + 2u * index]);
    c.b = crumbs(words[planes.x + 2u * index + 1u]);
    add_bits(&c, words[planes.y + index], 4.0);
    c.scale = half_scales(planes.z, planes.w, index);
    c.minimum = 4.0 * c.scale;
    return c;
}
