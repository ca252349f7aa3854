// Rows of keys and values: a head's at one position, as they are kept.

#if F16
// Words of a row: pairs of f16.
fn row_words(dim: u32) -> u32 {
    return dim / 2u;
}

// A pair of a row's values.
fn pair_at(row: u32, dim: u32, pair: u32) -> vec2<f32> {
    return unpack2x16float(cache[row + pair]);
}
#endif
#if Q8_0
// Words of a row: integers in fours, then an f16 scale for each eight of those.
fn row_words(dim: u32) -> u32 {
    return dim / 4u + (dim + 63u) / 64u;
}

// The scale of a block, of those that a word has.
fn scale_of(word: u32, block: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, (block & 1u) == 1u);
}

fn scale_at(row: u32, dim: u32, block: u32) -> f32 {
    return scale_of(cache[row + dim / 4u + block / 2u], block);
}

// A pair of a row's values.
fn pair_at(row: u32, dim: u32, pair: u32) -> vec2<f32> {
    let four = signed_bytes(cache[row + pair / 2u]);
    return scale_at(row, dim, pair / 16u) * select(four.xy, four.zw, (pair & 1u) == 1u);
}
#endif
