// Planes: two-bit quants, bytes of scale (low nibble) and minimum (high) for 16 values, f16 pairs for 256.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    let pair = unpack2x16float(words[planes.z + index / 8u]);
    let halves = short_at(planes.y, index);
    var c: Chunk;
    c.a = crumbs(words[planes.x + 2u * index]);
    c.b = crumbs(words[planes.x + 2u * index + 1u]);
    c.scale = low(halves).xy * pair.x;
    c.minimum = high(halves).xy * pair.y;
    return c;
}
