// Sums over a workgroup of 64, within subgroups first.
var<workgroup> partial: array<vec4<f32>, 64>;
var<private> subgroup: vec4<u32>; // size, number of the invocation in it, count, number of the subgroup

fn sum_of_64(value: vec4<f32>, local: u32) -> vec4<f32> {
    let mine = subgroupAdd(value);
    if (subgroup.y == 0u) {
        partial[subgroup.w] = mine;
    }
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var i = 0u; i < subgroup.z; i++) {
        sum += partial[i];
    }
    workgroupBarrier();
    return sum;
}
