//! NVFP4: 64 values: for each 16 a scale as UE4M3, a float of eight bits without a sign; for each 16 values 8 bytes of nibbles,
//! low ones first, that index the values of E2M1.

use super::mxfp4::MXFP4_VALUES;
use crate::quant::format::{Format, Quants, Scales, Values};
use crate::quant::decoded::DecodedBlock;
#[cfg(feature = "gpu")]
use crate::quant::planes::{Planes, joined, quad, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "NVFP4",
    ggml_id: 40,
    block_values: 64,
    block_bytes: 36,
    scales: Scales::Small(4),
    scale_unit: 0.01,
    values: Values::Quants(Quants {
        decode,
        minimums: None,
        interleaving: None,
    }),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: 1, bytes: &[32, 4], split, shader: &[wgsl!("nvfp4"), wgsl!("codebook")] },
};

/// Half of what the byte says: the table holds doubled values. What would not be a number is 0.
fn scale(byte: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), f32::from(byte & 7));
    match (byte, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => mantissa / 1024.0,
        _ => (8.0 + mantissa) * f32::from_bits((exponent + 116) << 23),
    }
}

fn decode(block: &[u8], decoded: &mut DecodedBlock) {
    decoded.scale = 1.0;
    for (group, bytes) in block[4..].chunks_exact(8).enumerate() {
        decoded.scales[group] = scale(block[group]);
        for (i, byte) in bytes.iter().enumerate() {
            decoded.quants[16 * group + i] = MXFP4_VALUES[usize::from(byte & 15)];
            decoded.quants[16 * group + 8 + i] = MXFP4_VALUES[usize::from(byte >> 4)];
        }
    }
}

#[cfg(feature = "gpu")]
fn split(block: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    let chunk = |bytes: &[u8]| {
        joined(&std::array::from_fn(|j| quad(&bytes[8 * (j / 4) + 4 * (j % 2)..], 4 * (j as u32 / 2 % 2), 15)))
    };
    put(0, [chunk(&block[4..20]), chunk(&block[20..])].as_flattened());
    put(1, &block[..4]);
}
