const UNIT: f32 = 1.0;

// 1, 3, 5 and so on to 15.
fn levels(number: vec4<u32>) -> vec4<u32> {
    return vec4(0x01010101u) + 2u * number;
}
