// F16, 32 values a chunk; the end of a row is padded with zeros.
fn eight(planes: vec4<u32>, index: u32, quarter: u32) -> mat2x4<f32> {
    let q = quads[planes.x / 4u + 4u * index + quarter];
    return mat2x4<f32>(
        vec4(unpack2x16float(q.x), unpack2x16float(q.y)),
        vec4(unpack2x16float(q.z), unpack2x16float(q.w)),
    );
}
