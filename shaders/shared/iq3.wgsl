// Planes: for each value the lower two bits of which of eight levels it is; for each chunk the third bits and the
// signs; scales (nibbles) for 16 values, f16 scales for 256.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let third = words[planes.y + 2u * index];
    let below = words[planes.y + 2u * index + 1u];
    var c: Quants;
    c.a = with_signs(levels(crumbs(words[planes.x + 2u * index]) | (bits(third) << vec4(2u))), below);
    c.b = with_signs(levels(crumbs(words[planes.x + 2u * index + 1u]) | (bits(third >> 16u) << vec4(2u))), below >> 16u);
    c.scale = odd_scales(byte_at(planes.z, index)) * (UNIT * half_at(planes.w, index / 8u));
    return c;
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
