// Planes: two-bit quants, bytes of scale (low nibble) and minimum (high) for 16 values, f16 pairs for 256.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let pair = unpack2x16float(words[planes.z + index / 8u]);
    let halves = short_at(planes.y, index);
    var c: Quants;
    c.a = crumbs(words[planes.x + 2u * index]);
    c.b = crumbs(words[planes.x + 2u * index + 1u]);
    c.scale = bytes(halves & 0x0f0fu).xy * pair.x;
    c.minimum = bytes((halves >> 4u) & 0x0f0fu).xy * pair.y;
    return c;
}

const CENTRE: f32 = 2.0;

fn values(word: u32) -> vec4<f32> {
    return bytes(word);
}
