//! Quants of six bits in an order in which few operations unpack them: the file has their upper bits in bytes that
//! belong to values far apart. Words hold four values of a row that follow one another: a unit. A group of 16
//! values, four units, is three words. Each holds a unit in its bytes' lowest six bits, and two bits of the fourth
//! unit above: the lowest in the first word.

/// The low nibbles of four bytes.
const NIBBLES: u32 = 0x0f0f_0f0f;
/// The lowest two bits of four bytes.
const TWO: u32 = 0x0303_0303;

/// From the file's order of Q6_K: 32 words of low nibbles, 16 of upper bits. A half block has its value `i` in
/// byte `i % 64` and, two bits, in byte `i % 32`.
#[inline(always)]
pub fn pack(words: impl Fn(usize) -> u32, mut put: impl FnMut(usize, u32)) {
    for (half, group) in HALF_GROUPS {
        // Units of groups that are 32 values apart.
        let units: [[u32; 4]; 4] = std::array::from_fn(|unit| {
            let at = 4 * group + unit;
            let (first, second, upper) = (words(16 * half + at), words(16 * half + 8 + at), words(32 + 8 * half + at));
            [
                first & NIBBLES | (upper & TWO) << 4,
                second & NIBBLES | (upper & TWO << 2) << 2,
                first >> 4 & NIBBLES | upper & TWO << 4,
                second >> 4 & NIBBLES | (upper & TWO << 6) >> 2,
            ]
        });
        #[expect(clippy::needless_range_loop, reason = "all four units are read in step")]
        for phase in 0..4 {
            let at = 3 * (8 * half + 2 * phase + group);
            let fourth = units[3][phase];
            put(at, units[0][phase] | (fourth & TWO) << 6);
            put(at + 1, units[1][phase] | (fourth & TWO << 2) << 4);
            put(at + 2, units[2][phase] | (fourth & TWO << 4) << 2);
        }
    }
}

/// Back to the file's order.
#[inline(always)]
pub fn unpack(words: impl Fn(usize) -> u32, mut put: impl FnMut(usize, u32)) {
    for (half, group) in HALF_GROUPS {
        let units: [[u32; 4]; 4] = std::array::from_fn(|phase| {
            let at = 3 * (8 * half + 2 * phase + group);
            let packed = [words(at), words(at + 1), words(at + 2)];
            let [a, b, c] = packed.map(|word| word & !(TWO << 6));
            let [low, middle, high] = packed.map(|word| word >> 6 & TWO);
            [a, b, c, low | middle << 2 | high << 4]
        });
        for unit in 0..4 {
            let at = 4 * group + unit;
            let [a, b, c, d] = units.map(|units| units[unit]);
            put(16 * half + at, a & NIBBLES | (c & NIBBLES) << 4);
            put(16 * half + 8 + at, b & NIBBLES | (d & NIBBLES) << 4);
            let [a, b, c, d] = [a, b, c, d].map(|word| word >> 4 & TWO);
            put(32 + 8 * half + at, a | b << 2 | c << 4 | d << 6);
        }
    }
}

/// Each half block of Q6_K, and the first and second groups of its pairs.
const HALF_GROUPS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
