// Sums over a workgroup of 64, through its memory.
var<workgroup> partial: array<vec4<f32>, 64>;

fn sum_of_64(value: vec4<f32>, local: u32) -> vec4<f32> {
    partial[local] = value;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (local < width) {
            partial[local] += partial[local + width];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}
