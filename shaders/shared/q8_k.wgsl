// Planes: signed bytes, an f32 scale for 256 values.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    var c = byte_chunk(planes.x, index);
    c.scale = both(weight(planes.y + index / 8u));
    return c;
}
