// Planes: nibbles, upper two bits, signed scales for 16 values, f16 scales for 256.
// value = scale · (quant − 32).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    c.a |= crumbs(words[planes.y + 2u * index]) << vec4(4u);
    c.b |= crumbs(words[planes.y + 2u * index + 1u]) << vec4(4u);
    c.scale = half_scales(planes.z, planes.w, index);
    c.minimum = 32.0 * c.scale;
    return c;
}

const CENTRE: f32 = 32.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
