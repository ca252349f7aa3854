// Planes: bits, f16 scales for 128 values. value = scale · (2 · bit − 1).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let word = words[planes.x + index];
    var c: Quants;
    c.a = bits(word) << vec4(1u);
    c.b = bits(word >> 16u) << vec4(1u);
    c.scale = both(half_at(planes.y, index / 4u));
    c.minimum = c.scale;
    return c;
}

const CENTRE: f32 = 1.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
