// Planes: signed bytes, f16 scales.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = whole_bytes(planes.x, index);
    c.scale = both(half_at(planes.y, index));
    return c;
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
