// Sums of each `lanes` invocations beside each other, a power of two, through workgroup memory.
// What the variant with subgroups is told.
const subgroup: u32 = 1u;

var<workgroup> partial: array<vec4<f32>, 256>;

fn sum_of(value: vec4<f32>, local: u32, lanes: u32, subgroup: u32) -> vec4<f32> {
    partial[local] = value;
    workgroupBarrier();
    for (var width = lanes / 2u; width > 0u; width /= 2u) {
        if (local % lanes < width) {
            partial[local] += partial[local + width];
        }
        workgroupBarrier();
    }
    let sum = partial[local / lanes * lanes];
    workgroupBarrier();
    return sum;
}
