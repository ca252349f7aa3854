//! IQ3_XXS: 256 values: an f16 scale, for each 4 values the number of a point, a byte; then for each 32 values a word: of
//! each 8 of them seven bits for [`even`] signs, and on top of these four bits of a scale.

use crate::quant::blocks::{half_at, word_at};
use crate::quant::book::{bytes_of, even, odd, points, put, signed};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::{book::{planes_iq3, split_iq3}, planes::wgsl};
use std::sync::LazyLock;

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ3_XXS",
    ggml_id: 18,
    block_values: 256,
    block_bytes: 98,
    scales: Scales::Half(&[0]),
    scale_unit: 0.0005,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: planes_iq3(
        |block, put| split_iq3(decode, 3, block, put),
        &[wgsl!("iq3_xxs"), wgsl!("iq3"), wgsl!("book")],
    ),
};

/// 256 points of 4 numbers.
static POINTS: LazyLock<Vec<u64>> = LazyLock::new(|| points(&BOOK, &[4, 12, 20, 28, 36, 44, 52, 62], 4));

const BOOK: [u8; 512] = bytes_of(
    "\
    158a0502040000280a052205021000011502058a008200208205200000000001000800801080002882000004000400000000002000001000\
    00510000080002000a050a158001000005020500000000000a05020100000004050001024000400022000000000100000000110040000002\
    20000000000000000000040001000000050a4502040000002a05020100008801058205800120000002110000000000110000002000080000\
    080080000200001000000000000000000a4000002000000002050a000001200405000102500000000a012000000400040002000800000000\
    0000000180000004410004000020000000100040000008000000000800000100108000a00088000000000000000000100000018001004100\
    8000000020000000100000000002100000002000080000010000000000000000200500010000000000040000020000014100400000200000\
    0010000400000004040000000008000000018800000000040400000200000000000000000001000000001000040000000000100050001000\
    0000020000000200008000000000100000000041000000000000000010000000200000000004000000000008000000000800020000000000\
    a801000400040000000040000100000000040000200400000120000800000100000002000200000005001000000000000000000100000000\
    0000000000000000",
);

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let points = POINTS.as_slice();
    decoded.scale = half_at(block, 0) / 4.0;
    for sub in 0..8 {
        let word = word_at(block, 66 + 4 * sub);
        decoded.scales[2 * sub..2 * sub + 2].fill(odd(word >> 28));
        for i in 0..4 {
            let at = 2 + 8 * sub + 2 * i;
            let numbers = points[block[at] as usize] | points[block[at + 1] as usize] << 32;
            put(decoded, 4 * sub + i, signed(numbers, even(word >> (7 * i))));
        }
    }
}
