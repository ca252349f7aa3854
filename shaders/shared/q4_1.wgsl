// Planes: nibbles, f16 pairs of scale and offset. value = scale · nibble + offset.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    let pair = unpack2x16float(words[planes.y + index]);
    c.scale = both(pair.x);
    c.minimum = both(-pair.y);
    return c;
}

const CENTRE: f32 = 8.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
