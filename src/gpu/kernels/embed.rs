//! What `shaders/embed.wgsl` is told.

use super::{Planes, parameters};

parameters! {
    /// A slab of the table, and where the batch's rows of it go.
    pub struct Embed {
        planes: Planes,
        /// The slab's first row and rows.
        first_row: u32,
        rows: u32,
        /// Chunks of a row.
        chunks: u32,
        scale: f32,
        /// Quads: the tokens' numbers, or `NONE` for other rows, which are added.
        tokens: u32,
        /// Those: one for all tokens, or `NONE` for rows of their positions.
        row: u32,
        dst: u32,
        dst_stride: u32,
        /// 1 for the residual stream.
        dst_residual: u32,
        flag: u32,
    }
}
