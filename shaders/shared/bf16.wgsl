// The upper halves of f32 numbers.
fn halves(q: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
