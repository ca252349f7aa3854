// Planes: nibbles, f16 scales.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = looked_up_quants(quads[planes.x / 4u + index], IQ4);
    c.scale = both(half_at(planes.y, index));
    return c;
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
