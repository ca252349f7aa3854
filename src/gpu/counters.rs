//! What a device was used for.

/// What a device was used for, counted from its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers that were made.
    pub buffers: u64,
    /// Bind groups that were made; none while tokens are decoded.
    pub bind_groups: u64,
    /// Pipelines that were compiled.
    pub pipelines: u64,
    /// Kernels that were launched.
    pub dispatches: u64,
    /// Command buffers that were sent off.
    pub submits: u64,
    /// Bytes that were asked back from the GPU's memory.
    pub readback_bytes: u64,
    /// Bytes that were written to buffers of it.
    pub uploaded_bytes: u64,
}

impl Counters {
    /// What was added since.
    pub fn since(&self, before: &Counters) -> Counters {
        Counters {
            buffers: self.buffers - before.buffers,
            bind_groups: self.bind_groups - before.bind_groups,
            pipelines: self.pipelines - before.pipelines,
            dispatches: self.dispatches - before.dispatches,
            submits: self.submits - before.submits,
            readback_bytes: self.readback_bytes - before.readback_bytes,
            uploaded_bytes: self.uploaded_bytes - before.uploaded_bytes,
        }
    }
}
