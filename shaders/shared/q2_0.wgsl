// Planes: two-bit quants, f16 scales for 64 values. value = scale · (quant − 1).
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c: Quants;
    c.a = crumbs(words[planes.x + 2u * index]);
    c.b = crumbs(words[planes.x + 2u * index + 1u]);
    c.scale = both(half_at(planes.y, index / 2u));
    c.minimum = c.scale;
    return c;
}

const CENTRE: f32 = 1.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
