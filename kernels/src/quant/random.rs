//! Data for tests and measurements: the same every time.

use crate::quant::{Dtype, Scales};

/// Numbers that look random and are the same every time (xorshift64*).
pub struct Noise(u64);

impl Noise {
    /// A sequence for each seed.
    pub fn new(seed: u64) -> Self {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// About normal: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.word() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// Rows of random bytes with scales as in a file: values of any format are around a tenth.
pub fn random_rows(dtype: Dtype, columns: usize, rows: usize, noise: &mut Noise) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..rows * dtype.row_bytes(columns as u64).unwrap_or(0) as usize).map(|_| noise.word() as u8).collect();
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        // Scales keep away from zero, where halves lose their precision.
        let mut scale = || {
            let normal = noise.normal();
            (normal + normal.signum()) * dtype.format().scale_unit
        };
        match dtype.format().scales {
            Scales::Single => block[..4].copy_from_slice(&scale().to_le_bytes()),
            Scales::Brain => block[..2].copy_from_slice(&half::bf16::from_f32(scale()).to_le_bytes()),
            Scales::Half(_) | Scales::Nibbles(_) => set_halves(dtype, block, || half::f16::from_f32(scale()).to_bits()),
            Scales::Exponent => block[0] = 118 + block[0] % 8,
            Scales::Small(count) => block[..count].iter_mut().for_each(|byte| *byte = 8 + *byte % 24),
        }
    }
    bytes
}

/// Sets the f16 scales of a block, of those that have some, to the bits of halves.
pub fn set_halves(dtype: Dtype, block: &mut [u8], mut half: impl FnMut() -> u16) {
    match dtype.format().scales {
        Scales::Half(places) => {
            places.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&half().to_le_bytes()));
        }
        Scales::Nibbles(at) => {
            let half = half();
            for (index, word) in block[at..].as_chunks_mut::<2>().0.iter_mut().take(4).enumerate() {
                word[1] = word[1] & 15 | ((half >> (4 * index)) as u8 & 15) << 4;
            }
        }
        Scales::Single | Scales::Brain | Scales::Exponent | Scales::Small(_) => {}
    }
}
