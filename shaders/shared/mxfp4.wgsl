// Planes: nibbles, exponents (E8M0) of the scale. Half of 2^(e − 127), since the table is doubled; the
// two smallest are subnormal, and whether they are kept is the device's business.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    var c = looked_up_quants(quads[planes.x / 4u + index], MXFP4);
    let e = (words[planes.y + index / 4u] >> (8u * (index & 3u))) & 255u;
    c.scale = both(bitcast<f32>(select((e - 1u) << 23u, 0x00200000u << e, e < 2u)));
    return c;
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
