//! F16: floats of 16 bits, as IEEE 754 has them.

use crate::quant::blocks::half_at;
use crate::quant::format::{Format, Scales, Values};
#[cfg(feature = "gpu")]
use crate::quant::planes::{CHUNK, Planes, wgsl};

/// See the module.
pub const FORMAT: Format = Format {
    name: "F16",
    ggml_id: 1,
    block_values: 1,
    block_bytes: 2,
    scales: Scales::Half(&[0]),
    scale_unit: 0.05,
    values: Values::Floats(|bytes| half_at(bytes, 0)),
    #[cfg(feature = "gpu")]
    planes: Planes { blocks: CHUNK, bytes: &[64], split: |block, put| put(0, block), shader: &[wgsl!("f16")] },
};
