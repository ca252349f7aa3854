//! Data for tests and measurements: the same every time.

use crate::quant::Dtype;

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
            (normal + normal.signum()) * scale_unit(dtype)
        };
        let mut half = |at: usize| block[at..at + 2].copy_from_slice(&half::f16::from_f32(scale()).to_le_bytes());
        match dtype {
            Dtype::F32 | Dtype::Q8_K => block[..4].copy_from_slice(&scale().to_le_bytes()),
            Dtype::BF16 => block.copy_from_slice(&half::bf16::from_f32(scale()).to_le_bytes()),
            Dtype::F16 | Dtype::Q4_0 | Dtype::Q5_0 | Dtype::Q8_0 | Dtype::IQ4_NL | Dtype::IQ4_XS => half(0),
            Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => [0, 2].into_iter().for_each(half),
            Dtype::Q2_K => [80, 82].into_iter().for_each(half),
            Dtype::Q3_K => half(108),
            Dtype::Q6_K => half(208),
            Dtype::MXFP4 => block[0] = 118 + block[0] % 8,
        }
    }
    bytes
}

/// The least scale of a block, for values around a tenth: formats differ in how large their quants are.
fn scale_unit(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => 0.05,
        Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q5_0 | Dtype::Q5_1 => 0.004,
        Dtype::Q2_K | Dtype::Q3_K => 0.002,
        Dtype::Q8_0 | Dtype::Q8_K | Dtype::IQ4_NL => 0.0007,
        Dtype::Q4_K | Dtype::Q5_K | Dtype::Q6_K | Dtype::IQ4_XS | Dtype::MXFP4 => 0.0001,
    }
}
