// Planes: nibbles, signed scales for 32 values, f16 scales for 256.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = looked_up_quants(quads[planes.x / 4u + index], IQ4);
    let scales = signed_bytes(words[planes.y + index / 4u]);
    c.scale = both(scales[index & 3u] * half_at(planes.z, index / 8u));
    return c;
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
