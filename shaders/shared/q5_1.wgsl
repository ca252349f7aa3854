// Planes: nibbles, fifth bits, f16 pairs of scale and offset. value = scale · quant + offset.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    let fifth = words[planes.y + index];
    c.a |= bits(fifth) << vec4(4u);
    c.b |= bits(fifth >> 16u) << vec4(4u);
    let pair = unpack2x16float(words[planes.z + index]);
    c.scale = both(pair.x);
    c.minimum = both(-pair.y);
    return c;
}

const CENTRE: f32 = 16.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
