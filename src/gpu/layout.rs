//! How weights lie in GPU memory: the fields of a format's blocks taken apart into planes of whole words,
//! so that a kernel loads a chunk of 32 values without shifting across words. `shaders/shared/<format>.wgsl`
//! reads what [`split`] writes here, in as many bytes as the file has (a few more for Q4_K and Q5_K, whose
//! six-bit scales become bytes).

use crate::quant::Dtype;

/// Values in a chunk, the unit of the kernels.
pub const CHUNK: usize = 32;

/// Alignment of planes, in bytes.
pub const PLANE_ALIGNMENT: usize = 256;

/// Most planes of a format.
pub const PLANES_MAX: usize = 4;

/// Consecutive blocks that fill whole words of every plane.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub blocks: usize,
    /// Bytes of each plane.
    pub planes: &'static [usize],
}

/// The unit of a format.
pub fn unit(dtype: Dtype) -> Unit {
    let (blocks, planes): (usize, &[usize]) = match dtype {
        Dtype::F32 => (CHUNK, &[128]),
        Dtype::F16 | Dtype::BF16 => (CHUNK, &[64]),
        Dtype::Q4_0 | Dtype::IQ4_NL => (2, &[32, 4]),
        Dtype::Q4_1 => (1, &[16, 4]),
        Dtype::Q5_0 => (2, &[32, 8, 4]),
        Dtype::Q5_1 => (1, &[16, 4, 4]),
        Dtype::Q8_0 => (2, &[64, 4]),
        Dtype::MXFP4 => (4, &[64, 4]),
        Dtype::Q2_K => (1, &[64, 16, 4]),
        Dtype::Q3_K => (2, &[128, 64, 32, 4]),
        Dtype::Q4_K => (1, &[128, 16, 4]),
        Dtype::Q5_K => (1, &[128, 32, 16, 4]),
        Dtype::Q6_K => (2, &[256, 128, 32, 4]),
        Dtype::Q8_K => (1, &[256, 4]),
        Dtype::IQ4_XS => (2, &[256, 16, 4]),
    };
    Unit { blocks, planes }
}

/// Takes a unit's bytes apart. `planes` are the unit's parts of each plane.
pub fn split(dtype: Dtype, unit: &[u8], planes: &mut [&mut [u8]]) {
    for (number, block) in unit.chunks_exact(dtype.block_bytes()).enumerate() {
        let mut put = |plane: usize, bytes: &[u8]| {
            planes[plane][number * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
        };
        match dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => put(0, block),
            Dtype::Q4_0 | Dtype::IQ4_NL => {
                put(0, &joined(&halves(&block[2..18])));
                put(1, &block[..2]);
            }
            Dtype::Q4_1 => {
                put(0, &joined(&halves(&block[4..20])));
                put(1, &block[..4]);
            }
            Dtype::Q5_0 => {
                put(0, &joined(&halves(&block[6..22])));
                put(1, &block[2..6]);
                put(2, &block[..2]);
            }
            Dtype::Q5_1 => {
                put(0, &joined(&halves(&block[8..24])));
                put(1, &block[4..8]);
                put(2, &block[..4]);
            }
            Dtype::Q8_0 => {
                put(0, &block[2..34]);
                put(1, &block[..2]);
            }
            Dtype::MXFP4 => {
                put(0, &joined(&halves(&block[1..17])));
                put(1, &block[..1]);
            }
            Dtype::Q2_K => {
                put(0, &crumbs(&block[16..80]));
                put(1, &block[..16]);
                put(2, &block[80..84]);
            }
            Dtype::Q3_K => {
                put(0, &crumbs(&block[32..96]));
                put(1, &transposed(&block[..32]));
                put(2, &q3_k_scales(&block[96..108]));
                put(3, &block[108..110]);
            }
            Dtype::Q4_K => {
                put(0, &sub_blocks(&block[16..144]));
                put(1, &scales_and_minimums(&block[4..16]));
                put(2, &block[..4]);
            }
            Dtype::Q5_K => {
                put(0, &sub_blocks(&block[48..176]));
                put(1, &transposed(&block[16..48]));
                put(2, &scales_and_minimums(&block[4..16]));
                put(3, &block[..4]);
            }
            Dtype::Q6_K => {
                put(0, &q6_k_nibbles(&block[..128]));
                put(1, &crumbs(&block[128..192]));
                put(2, &block[192..208]);
                put(3, &block[208..210]);
            }
            Dtype::Q8_K => {
                put(0, &block[4..260]);
                put(1, &block[..4]);
            }
            Dtype::IQ4_XS => {
                let mut nibbles = [0; 128];
                for (to, from) in nibbles.chunks_exact_mut(16).zip(block[8..136].chunks_exact(16)) {
                    to.copy_from_slice(&joined(&halves(from)));
                }
                put(0, &nibbles);
                put(1, &iq4_xs_scales(block));
                put(2, &block[..2]);
            }
        }
    }
}

/// Four values, a byte each.
type Quad = [u8; 4];

fn quad(bytes: &[u8], shift: u32, mask: u8) -> Quad {
    [0, 1, 2, 3].map(|i| bytes[i] >> shift & mask)
}

/// The eight quads of a block whose low nibbles come before its high ones.
fn halves(bytes: &[u8]) -> [Quad; 8] {
    std::array::from_fn(|j| quad(&bytes[4 * (j % 4)..], 4 * (j as u32 / 4), 15))
}

/// Nibbles of a chunk as the kernels want them: word i has quad 2i in its low and 2i + 1 in its high nibbles.
fn joined(quads: &[Quad; 8]) -> [u8; 16] {
    std::array::from_fn(|i| quads[i / 4 * 2][i % 4] | quads[i / 4 * 2 + 1][i % 4] << 4)
}

/// Q4_K and Q5_K: 32 bytes hold one sub-block in their low nibbles and the next in their high ones.
fn sub_blocks(bytes: &[u8]) -> [u8; 128] {
    let mut out = [0; 128];
    for (sub, to) in out.chunks_exact_mut(16).enumerate() {
        let from = &bytes[32 * (sub / 2)..];
        to.copy_from_slice(&joined(&std::array::from_fn(|j| quad(&from[4 * j..], 4 * (sub as u32 % 2), 15))));
    }
    out
}

/// Q6_K: in a half block, value i has its nibble in byte i % 64, the upper ones for the second 64.
fn q6_k_nibbles(bytes: &[u8]) -> [u8; 128] {
    let mut out = [0; 128];
    for (chunk, to) in out.chunks_exact_mut(16).enumerate() {
        let from = &bytes[64 * (chunk / 4) + 32 * (chunk % 2)..];
        let shift = 4 * (chunk as u32 % 4 / 2);
        to.copy_from_slice(&joined(&std::array::from_fn(|j| quad(&from[4 * j..], shift, 15))));
    }
    out
}

/// Two-bit values of 256: byte l of 32 holds values l, 32 + l, 64 + l, 96 + l of a half block. A word of
/// the plane has 16 values, quad j of them in bits 2j of each byte.
fn crumbs(bytes: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    for (word, to) in out.chunks_exact_mut(4).enumerate() {
        let from = &bytes[32 * (word / 8) + 16 * (word % 2)..];
        let shift = 2 * (word as u32 % 8 / 2);
        for j in 0..4 {
            let quad = quad(&from[4 * j..], shift, 3);
            to.iter_mut().zip(quad).for_each(|(to, value)| *to |= value << (2 * j));
        }
    }
    out
}

/// Bit s of byte l becomes bit l of word s: a word for each chunk.
fn transposed(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (sub, to) in out.chunks_exact_mut(4).enumerate() {
        let word = bytes.iter().enumerate().fold(0u32, |word, (l, byte)| word | u32::from(byte >> sub & 1) << l);
        to.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// Q4_K and Q5_K: scale and minimum of each sub-block, a byte each.
fn scales_and_minimums(packed: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    for sub in 0..4 {
        let (scale, minimum, low) = (packed[sub], packed[sub + 4], packed[sub + 8]);
        (out[2 * sub], out[2 * sub + 1]) = (scale & 63, minimum & 63);
        out[2 * sub + 8] = low & 15 | scale >> 6 << 4;
        out[2 * sub + 9] = low >> 4 | minimum >> 6 << 4;
    }
    out
}

/// Q3_K: sixteen six-bit scales less 32, as signed bytes.
fn q3_k_scales(packed: &[u8]) -> [u8; 16] {
    std::array::from_fn(|group| {
        let low = packed[group % 8] >> (4 * (group / 8)) & 15;
        let upper = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        (low | upper << 4).wrapping_sub(32)
    })
}

/// IQ4_XS: eight six-bit scales less 32, as signed bytes.
fn iq4_xs_scales(block: &[u8]) -> [u8; 8] {
    let high = u16::from_le_bytes([block[2], block[3]]);
    std::array::from_fn(|sub| {
        let low = block[4 + sub / 2] >> (4 * (sub % 2)) & 15;
        (low | ((high >> (2 * sub)) as u8 & 3) << 4).wrapping_sub(32)
    })
}
