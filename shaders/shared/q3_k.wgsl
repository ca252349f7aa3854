// Planes: two-bit quants, third bits, signed scales for 16 values, f16 scales for 256.
// value = scale · (quant − 4).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let third = words[planes.y + index];
    var c: Quants;
    c.a = crumbs(words[planes.x + 2u * index]) | (bits(third) << vec4(2u));
    c.b = crumbs(words[planes.x + 2u * index + 1u]) | (bits(third >> 16u) << vec4(2u));
    c.scale = half_scales(planes.z, planes.w, index);
    c.minimum = 4.0 * c.scale;
    return c;
}

const CENTRE: f32 = 4.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
