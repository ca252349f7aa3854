// F32, 32 values a chunk; the end of a row is padded with zeros.
fn eight(planes: vec4<u32>, index: u32, quarter: u32) -> mat2x4<f32> {
    let at = planes.x / 4u + 8u * index + 2u * quarter;
    return mat2x4<f32>(bitcast<vec4<f32>>(quads[at]), bitcast<vec4<f32>>(quads[at + 1u]));
}
