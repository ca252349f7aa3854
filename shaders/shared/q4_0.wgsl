// Planes: nibbles, f16 scales. value = scale · (nibble − 8).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    c.scale = both(half_at(planes.y, index));
    c.minimum = 8.0 * c.scale;
    return c;
}

const CENTRE: f32 = 8.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
