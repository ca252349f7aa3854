//! F32: little-endian floats of 32 bits.

use crate::quant::format::{Format, Scales, Values};
#[cfg(feature = "gpu")]
use crate::quant::planes::{CHUNK, Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "F32",
    ggml_id: 0,
    block_values: 1,
    block_bytes: 4,
    scales: Scales::Single,
    scale_unit: 0.05,
    values: Values::Floats(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: CHUNK, bytes: &[128], split: |block, put| put(0, block), shader: &[wgsl!("f32")] },
};
