//! What `shaders/copy.wgsl` is told.

use super::parameters;

parameters! {
    /// Runs of values that go from one slot's rows to another's.
    pub struct Copy {
        /// Quads; 1 for the residual stream.
        src: u32,
        src_stride: u32,
        src_residual: u32,
        dst: u32,
        dst_stride: u32,
        dst_residual: u32,
        /// Quads of a row of `dst`.
        quads: u32,
        /// Values of a run, and how many runs there are.
        run: u32,
        count: u32,
        /// Values: where the first run begins, and how far apart they are. Runs of `dst` do not overlap.
        from_first: u32,
        from_step: u32,
        to_first: u32,
        to_step: u32,
        flag: u32,
    }
}
