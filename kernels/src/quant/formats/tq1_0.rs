//! TQ1_0: 256 values of −1, 0, 1: bytes that hold five or four of them as digits of base three, an f16 scale. A byte is the
//! fraction of 256 whose first digits these are. Of 32 bytes the first digits are values 0 to 31, the second 32 to 63, and
//! so on to value 159; of the 16 bytes after them likewise to value 239, and of the last 4, which have four digits, to 255.

use crate::quant::blocks::half_at;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, packed_crumbs, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "TQ1_0",
    ggml_id: 34,
    block_values: 256,
    block_bytes: 54,
    scales: Scales::Half(&[52]),
    scale_unit: 0.05,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 2, bytes: &[128, 4], split, shader: &[wgsl!("tq2_0")] },
};

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = half_at(block, 52);
    let mut at = 0;
    for (bytes, digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        let mut power = 1u8;
        for _ in 0..digits {
            for (quant, byte) in decoded.quants[at..].iter_mut().zip(bytes) {
                *quant = ((3 * u16::from(byte.wrapping_mul(power))) >> 8) as i8 - 1;
            }
            at += bytes.len();
            power = power.wrapping_mul(3);
        }
    }
}

/// Two bits a value, as TQ2_0.
#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let mut decoded = DecodedBlock::default();
    decode(block, &mut decoded);
    put(0, &packed_crumbs::<64>(|i| (decoded.quants[i] + 1) as u8));
    put(1, &block[52..]);
}
