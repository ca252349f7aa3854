// F32, 32 values a chunk; the end of a row is padded with zeros.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    let at = planes.x / 4u + 8u * index;
    var c: Chunk;
    c.a = mat4x4<f32>(bitcast<vec4<f32>>(quads[at]), bitcast<vec4<f32>>(quads[at + 1u]), bitcast<vec4<f32>>(quads[at + 2u]), bitcast<vec4<f32>>(quads[at + 3u]));
    c.b = mat4x4<f32>(bitcast<vec4<f32>>(quads[at + 4u]), bitcast<vec4<f32>>(quads[at + 5u]), bitcast<vec4<f32>>(quads[at + 6u]), bitcast<vec4<f32>>(quads[at + 7u]));
    c.scale = both(1.0);
    return c;
}
