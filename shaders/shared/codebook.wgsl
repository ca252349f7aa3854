// Four table entries for four nibbles of a word, as bytes; the table is 16 signed bytes in four words.
fn looked_up(word: u32, table: vec4<u32>) -> u32 {
    let n = vec4(word, word >> 8u, word >> 16u, word >> 24u) & vec4(15u);
    let entry = select(
        select(vec4(table.x), vec4(table.y), n >= vec4(4u)),
        select(vec4(table.z), vec4(table.w), n >= vec4(12u)),
        n >= vec4(8u),
    );
    let byte = ((entry >> (8u * (n & vec4(3u)))) & vec4(255u)) << vec4(0u, 8u, 16u, 24u);
    return byte.x | byte.y | byte.z | byte.w;
}

fn looked_up_quants(q: vec4<u32>, table: vec4<u32>) -> Quants {
    let h = q >> vec4(4u);
    var c: Quants;
    c.a = vec4(looked_up(q.x, table), looked_up(h.x, table), looked_up(q.y, table), looked_up(h.y, table));
    c.b = vec4(looked_up(q.z, table), looked_up(h.z, table), looked_up(q.w, table), looked_up(h.w, table));
    return c;
}

// −127 −104 −83 −65, −49 −35 −22 −10, 1 13 25 38, 53 69 89 113
const IQ4: vec4<u32> = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);
// 0 1 2 3, 4 6 8 12, 0 −1 −2 −3, −4 −6 −8 −12: twice the values of E2M1
const MXFP4: vec4<u32> = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);
