// Planes: nibbles, scales (UE4M3) for 16 values.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = looked_up_quants(quads[planes.x / 4u + index], MXFP4);
    let scales = short_at(planes.y, index);
    c.scale = vec2(half_of(scales & 255u), half_of(scales >> 8u));
    return c;
}

// Half of a scale, since the table is doubled. What would not be a number is 0.
fn half_of(byte: u32) -> f32 {
    let exponent = (byte >> 3u) & 15u;
    let mantissa = f32(byte & 7u);
    let normal = (8.0 + mantissa) * bitcast<f32>((exponent + 116u) << 23u);
    return select(select(normal, mantissa / 1024.0, exponent == 0u), 0.0, byte == 127u);
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
