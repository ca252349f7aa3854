// Sums of each `lanes` invocations beside each other, a power of two, within subgroups first. Invocations of a
// subgroup have consecutive numbers; the self-test rejects this variant where a device counts otherwise.
var<workgroup> partial: array<vec4<f32>, 256>;

// `subgroup` is its size, handed from function to function: only so do browsers know that all have the same.
fn sum_of(value: vec4<f32>, local: u32, lanes: u32, subgroup: u32) -> vec4<f32> {
    var sum = value;
    for (var distance = 1u; distance < min(subgroup, lanes); distance *= 2u) {
        sum += subgroupShuffleXor(sum, distance);
    }
    if (subgroup < lanes) {
        partial[local] = sum;
        workgroupBarrier();
        let first = local / lanes * lanes;
        sum = vec4(0.0);
        for (var i = 0u; i < lanes; i += subgroup) {
            sum += partial[first + i];
        }
        workgroupBarrier();
    }
    return sum;
}
