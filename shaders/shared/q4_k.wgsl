// Planes: nibbles, bytes of scale and minimum for 32 values, f16 pairs for 256.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = nibbles(quads[planes.x / 4u + index]);
    let pair = scale_and_minimum(planes.y, planes.z, index);
    c.scale = both(pair.x);
    c.minimum = both(pair.y);
    return c;
}

const CENTRE: f32 = 8.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
