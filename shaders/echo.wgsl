// What a token answers to itself: dst = (query · key) · value. Dispatch: (heads, 1, tokens).

struct Op {
    // Quads.
    query: u32,
    query_stride: u32,
    key: u32,
    key_stride: u32,
    value: u32,
    value_stride: u32,
    dst: u32,
    dst_stride: u32,
    // Quads of a head.
    keys: u32,
    values: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup: u32,
#endif
) {
    let query = op.query + group.z * op.query_stride + group.x * op.keys;
    let key = op.key + group.z * op.key_stride + group.x * op.keys;
    var products = 0.0;
    for (var i = local; i < op.keys; i += 64u) {
        products += dot(arena[query + i], arena[key + i]);
    }
    let answer = sum_of(vec4(products), local, 64u, subgroup).x;
    let value = op.value + group.z * op.value_stride + group.x * op.values;
    let dst = op.dst + group.z * op.dst_stride + group.x * op.values;
    for (var i = local; i < op.values; i += 64u) {
        arena[dst + i] = answer * arena[value + i];
    }
}
