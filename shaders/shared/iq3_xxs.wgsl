const UNIT: f32 = 0.25;

// 4, 12, 20 and so on to 52, then 62.
fn levels(number: vec4<u32>) -> vec4<u32> {
    let last = ((number + vec4(0x01010101u)) >> vec4(2u)) & vec4(0x02020202u);
    return vec4(0x04040404u) + 8u * number + last;
}
