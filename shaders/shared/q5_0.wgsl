// Planes: nibbles, fifth bits, f16 scales. value = scale · (quant − 16).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    let fifth = words[planes.y + index];
    c.a |= bits(fifth) << vec4(4u);
    c.b |= bits(fifth >> 16u) << vec4(4u);
    c.scale = both(half_at(planes.z, index));
    c.minimum = 16.0 * c.scale;
    return c;
}

const CENTRE: f32 = 16.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
