// BF16, 32 values a chunk: the upper halves of f32 numbers; the end of a row is padded with zeros.
fn upper(q: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}

fn eight(planes: vec4<u32>, index: u32, quarter: u32) -> mat2x4<f32> {
    let q = quads[planes.x / 4u + 4u * index + quarter];
    return mat2x4<f32>(upper(q.xy), upper(q.zw));
}
