//! How weights lie in GPU memory: the fields of a format's blocks taken apart into planes of whole words,
//! so that a kernel loads a chunk of 32 values without shifting across words. `shaders/shared/<format>.wgsl`
//! reads what a format's `split` writes here, in as many bytes as the file has. Q4_K and Q5_K, whose six-bit scales become
//! bytes, have a few more. So do formats that save bits by tables or by digits of base three: IQ1 and TQ1_0 lie in about
//! two bits a value, IQ2 in three and IQ3 in four, so that a kernel needs no table, which it would wait for.

use super::blocks::six_bit_pairs;

/// Values in a chunk, the unit of the kernels.
pub const CHUNK: usize = 32;

/// Most planes of a format.
pub const PLANES_MAX: usize = 4;

/// Takes a block apart: calls the function with each plane's number and bytes.
pub type Split = fn(&[u8], &mut dyn FnMut(usize, &[u8]));

/// How a format's weights lie in GPU memory.
pub struct Planes {
    /// Consecutive blocks that fill whole words of every plane: a unit.
    pub blocks: usize,
    /// Bytes of each plane in a unit.
    pub bytes: &'static [usize],
    /// Takes a block apart.
    pub split: Split,
    /// The shader's part that decodes a chunk, and what it calls.
    pub shader: &'static [&'static str],
}

impl Planes {
    /// Takes a unit of blocks of `block_bytes` apart. `planes` are the unit's decoded of each plane.
    pub fn split(&self, block_bytes: usize, unit: &[u8], planes: &mut [&mut [u8]]) {
        for (number, block) in unit.chunks_exact(block_bytes).enumerate() {
            (self.split)(block, &mut |plane, bytes| {
                planes[plane][number * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
            });
        }
    }
}

/// A file of `shaders/shared/`.
macro_rules! wgsl {
    ($stem:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shaders/shared/", $stem, ".wgsl"))
    };
}
pub(super) use wgsl;

/// Four values, a byte each.
pub type Quad = [u8; 4];

/// Four bytes, shifted and masked.
pub fn quad(bytes: &[u8], shift: u32, mask: u8) -> Quad {
    [0, 1, 2, 3].map(|i| bytes[i] >> shift & mask)
}

/// The eight quads of a block whose low nibbles come before its high ones.
pub fn halves(bytes: &[u8]) -> [Quad; 8] {
    std::array::from_fn(|j| quad(&bytes[4 * (j % 4)..], 4 * (j as u32 / 4), 15))
}

/// Nibbles of a chunk as the kernels want them: word i has quad 2i in its low and 2i + 1 in its high nibbles.
pub fn joined(quads: &[Quad; 8]) -> [u8; 16] {
    std::array::from_fn(|i| quads[i / 4 * 2][i % 4] | quads[i / 4 * 2 + 1][i % 4] << 4)
}

/// Q4_K and Q5_K: 32 bytes hold one sub-block in their low nibbles and the next in their high ones.
pub fn sub_blocks(bytes: &[u8]) -> [u8; 128] {
    let mut out = [0; 128];
    for (sub, to) in out.chunks_exact_mut(16).enumerate() {
        let from = &bytes[32 * (sub / 2)..];
        to.copy_from_slice(&joined(&std::array::from_fn(|j| quad(&from[4 * j..], 4 * (sub as u32 % 2), 15))));
    }
    out
}

/// Two-bit values of 256: byte l of 32 holds values l, 32 + l, 64 + l, 96 + l of a half block. A word of
/// the plane has 16 values, quad j of them in bits 2j of each byte.
pub fn crumbs(bytes: &[u8]) -> [u8; 64] {
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

/// As [`crumbs`] has them: 4 `N` values of two bits.
pub fn packed_crumbs<const N: usize>(value: impl Fn(usize) -> u8) -> [u8; N] {
    std::array::from_fn(|at| (0..4).fold(0, |byte, j| byte | value(16 * (at / 4) + 4 * j + at % 4) << (2 * j)))
}

/// A bit for each of 8 `N` values, in their order.
pub fn packed_bits<const N: usize>(bit: impl Fn(usize) -> bool) -> [u8; N] {
    std::array::from_fn(|at| (0..8).fold(0, |byte, j| byte | u8::from(bit(8 * at + j)) << j))
}

/// Bit s of byte l becomes bit l of word s: a word for each chunk.
pub fn transposed(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (sub, to) in out.chunks_exact_mut(4).enumerate() {
        let word = bytes.iter().enumerate().fold(0u32, |word, (l, byte)| word | u32::from(byte >> sub & 1) << l);
        to.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// Q4_K and Q5_K: scale and minimum of each sub-block, a byte each.
pub fn scale_bytes(packed: &[u8]) -> [u8; 16] {
    let pairs = six_bit_pairs(packed);
    std::array::from_fn(|i| pairs[i / 2][i % 2])
}
