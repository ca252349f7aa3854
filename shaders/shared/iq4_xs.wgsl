// Planes: nibbles, signed scales for 32 values, f16 scales for 256.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = looked_up_chunk(quads[planes.x / 4u + index], IQ4);
    let scales = signed_bytes(words[planes.y + index / 4u]);
    c.scale = both(scales[index & 3u] * half_at(planes.z, index / 8u));
    return c;
}
