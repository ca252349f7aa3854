// Planes: for each value −1, 0 or 1, as 0, 1, 2; for each chunk a byte of scales (nibbles) for 16 values, and a bit for
// each 8 values, which are an eighth less if it is set, and more if not; f16 scales for 256. Quants are eighths.
fn quants(planes: vec4<u32>, index: u32) -> Quants {
    let word = short_at(planes.y, index);
    var c: Quants;
    c.a = shifted(crumbs(words[planes.x + 2u * index]), word >> 8u);
    c.b = shifted(crumbs(words[planes.x + 2u * index + 1u]), word >> 10u);
    c.scale = odd_scales(word) * (0.125 * half_at(planes.z, index / 8u));
    return c;
}

// The eighth bit keeps bytes from borrowing, and then makes them signed.
fn shifted(number: vec4<u32>, below: u32) -> vec4<u32> {
    let less = (vec4(below, below, below >> 1u, below >> 1u) & vec4(1u)) * 0x02020202u;
    return (vec4(0x79797979u) + 8u * number - less) ^ vec4(0x80808080u);
}

const CENTRE: f32 = 0.0;

fn values(word: u32) -> vec4<f32> {
    return signed_bytes(word);
}
