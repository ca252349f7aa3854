// Formats of floats: their own `eight` gives a quarter of a chunk.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    let p = array<mat2x4<f32>, 4>(
        eight(planes, index, 0u),
        eight(planes, index, 1u),
        eight(planes, index, 2u),
        eight(planes, index, 3u),
    );
    var c: Chunk;
    c.a = mat4x4<f32>(p[0][0], p[0][1], p[1][0], p[1][1]);
    c.b = mat4x4<f32>(p[2][0], p[2][1], p[3][0], p[3][1]);
    c.scale = both(1.0);
    return c;
}
