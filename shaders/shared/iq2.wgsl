// Planes: for each value which of 8, 25 and 43 it is, signs, scales (nibbles) for 16 values, f16 scales for 256.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let below = words[planes.y + index];
    var c: Quants;
    c.a = with_signs(levels(crumbs(words[planes.x + 2u * index])), below);
    c.b = with_signs(levels(crumbs(words[planes.x + 2u * index + 1u])), below >> 16u);
    c.scale = odd_scales(byte_at(planes.z, index)) * (0.125 * half_at(planes.w, index / 8u));
    return c;
}

fn levels(number: vec4<u32>) -> vec4<u32> {
    return vec4(0x08080808u) + 17u * number + ((number >> vec4(1u)) & vec4(0x01010101u));
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
