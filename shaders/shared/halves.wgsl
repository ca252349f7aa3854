// F16 and BF16, 32 values a chunk; `halves` is the format's own.
fn chunk(planes: vec4<u32>, index: u32) -> Chunk {
    let at = planes.x / 4u + 4u * index;
    let p = array<vec4<u32>, 4>(quads[at], quads[at + 1u], quads[at + 2u], quads[at + 3u]);
    var c: Chunk;
    c.a = mat4x4<f32>(halves(p[0].xy), halves(p[0].zw), halves(p[1].xy), halves(p[1].zw));
    c.b = mat4x4<f32>(halves(p[2].xy), halves(p[2].zw), halves(p[3].xy), halves(p[3].zw));
    c.scale = both(1.0);
    return c;
}
