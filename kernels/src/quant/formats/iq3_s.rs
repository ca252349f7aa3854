//! IQ3_S: 256 values: an f16 scale; for each 4 values the low byte of the number of a point; for each 32 values a byte of
//! the upper bits of their numbers; a byte of signs for each 8 values; for each 32 values a nibble of a scale.

use crate::quant::blocks::half_at;
use crate::quant::book::{bytes_of, odd, points, put, signed};
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::{book::{planes_iq3, split_iq3}, planes::wgsl};
use std::sync::LazyLock;

/// See the module.
pub const FORMAT: Format = Format {
    name: "IQ3_S",
    ggml_id: 21,
    block_values: 256,
    block_bytes: 110,
    scales: Scales::Half(&[0]),
    scale_unit: 0.0005,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: planes_iq3(
        |block, put| split_iq3(decode, 1, block, put),
        &[wgsl!("iq3_s"), wgsl!("iq3"), wgsl!("book")],
    ),
};

/// 512 points of 4 numbers.
static POINTS: LazyLock<Vec<u64>> = LazyLock::new(|| points(&BOOK, &[1, 3, 5, 7, 9, 11, 13, 15], 4));

const BOOK: [u8; 512] = bytes_of(
    "\
    a7572308a50a05921723892210002204a3492211a40a00090822054a10058022018812040902000114004508a2004008400a000200040002\
    150045080011000017ab0552005002044b1102090205004101a411040920010492098211020004012814000a441100000209020500020000\
    00009100500000000a05022002000401ab558a052a058029058924120402000092000a81028800122502140a040140008200092402000024\
    10020480010800018500020000200200200240010801000004aa042a940208022a100a0001000144010401140001000002118a018a200008\
    0842040200041100020520041040000800400000020000000a000520000000001104910402010001840a0421082200000a21020801800401\
    100a0522000000000500108001000002a0000200000004000008001000000100002100010802000004110400910440102a04020400000004\
    01020841000800008401800010022008120001044000000000044000000a000000000000040000001400040000000000002a000a00000100\
    010081000000100000040010042004010110020001000000000020000800040009000010000001002000000001000000000a000000000000\
    9100054001100400040210002800000012410201000200000400002400080000220801000001000000000400040000000400000200000000\
    0100000000000000",
);

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    let points = POINTS.as_slice();
    decoded.scale = half_at(block, 0);
    for sub in 0..8 {
        let scale = block[106 + sub / 2] >> (4 * (sub % 2)) & 15;
        decoded.scales[2 * sub..2 * sub + 2].fill(odd(scale.into()));
        let high = usize::from(block[66 + sub]);
        let point = |i: usize| points[usize::from(block[2 + 8 * sub + i]) | (high >> i & 1) << 8];
        for i in 0..4 {
            let numbers = point(2 * i) | point(2 * i + 1) << 32;
            put(decoded, 4 * sub + i, signed(numbers, block[74 + 4 * sub + i]));
        }
    }
}
