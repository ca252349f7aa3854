//! BF16: the upper 16 bits of floats of 32.

use crate::quant::format::{Format, Scales, Values};
#[cfg(feature = "gpu")]
use crate::quant::planes::{CHUNK, Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "BF16",
    ggml_id: 30,
    block_values: 1,
    block_bytes: 2,
    scales: Scales::Brain,
    scale_unit: 0.05,
    values: Values::Floats(|bytes| half::bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: CHUNK, bytes: &[64], split: |block, put| put(0, block), shader: &[wgsl!("bf16")] },
};
