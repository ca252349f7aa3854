fn halves(q: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(q.x), unpack2x16float(q.y));
}
