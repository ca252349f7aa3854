// Planes: signed bytes, f16 scales.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = byte_chunk(planes.x, index);
    c.scale = both(half_at(planes.y, index));
    return c;
}
