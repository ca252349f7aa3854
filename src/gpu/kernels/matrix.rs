//! What `shaders/matvec.wgsl` and `shaders/matmat.wgsl` are told.

use super::{NONE, Planes, Words, parameters};

/// Bits of a job's `flags`.
pub mod flags {
    crate::gpu::kernels::constants! {
        /// The scale comes after the bias.
        BIAS_FIRST = 1;
        /// The result joins what is there.
        ACCUMULATES = 2;
        /// Where the bit of the residual stream is.
        RESIDUAL_SHIFT = 2;
    }
}

/// What `gate` and `form` may be, where they are not 0.
pub mod forms {
    crate::gpu::kernels::constants! {
        /// The first two jobs are gate and up of SiLU.
        GATE_SILU = 1;
        /// The same of GELU by tanh.
        GATE_GELU = 2;
        /// Experts that share one source row.
        SHARED = 1;
        /// Experts whose results are summed up by their weights.
        SUMMED = 2;
    }
}

/// Invocations.
pub mod threads {
    crate::gpu::kernels::constants! {
        /// Of a workgroup of matrix·vector.
        MATVEC_THREADS = 256;
    }
}

pub use threads::MATVEC_THREADS;

/// Matrices of one dispatch at most.
pub const JOBS_MAX: usize = 3;

parameters! {
    /// Rows of one matrix and where their products go.
    pub struct Job {
        planes: Planes,
        first_row: u32,
        rows: u32,
        /// Words of the bias's first value and of the scale, or `NONE`.
        bias: u32,
        scale: u32,
        /// Quads.
        dst: u32,
        dst_stride: u32,
        /// See `flags`.
        flags: u32,
        pad: u32,
    }
}

impl Job {
    /// One that is not there.
    pub const ABSENT: Job =
        Job { planes: [0; 4], first_row: 0, rows: 0, bias: NONE, scale: NONE, dst: 0, dst_stride: 0, flags: 0, pad: 0 };
}

impl Words for [Job; JOBS_MAX] {
    const COUNT: usize = JOBS_MAX * Job::COUNT;
    const WGSL: &'static str = "array<Job, 3>";
    fn put(&self, to: &mut impl FnMut(u32)) {
        self.iter().for_each(|job| job.put(to));
    }
}

parameters! {
    /// Products of one source with the rows of up to three matrices.
    pub struct MatrixProduct {
        /// Quads; 1 for the residual stream.
        src: u32,
        src_stride: u32,
        src_residual: u32,
        /// Chunks of a row of the matrices, and values of the source's row.
        chunks: u32,
        width: u32,
        /// Words of the norm's weights, if the source is normalised on the way in.
        norm: u32,
        epsilon: f32,
        jobs: u32,
        /// 0, or a gate of `forms`.
        gate: u32,
        /// Quads of the experts' choice, or `NONE`.
        choice: u32,
        choice_stride: u32,
        /// Experts in use.
        used: u32,
        /// 0, or what becomes of experts, of `forms`.
        form: u32,
        /// Quads: where the group's flag of values that are not finite is, or `NONE`.
        flag: u32,
        first_block: u32,
        /// Invocations of matrix·vector that share four rows: 8, 16, 32 or 64.
        lanes: u32,
        job: [Job; JOBS_MAX],
    }
}
