//! What a device was used for.

/// What a device was used for, counted from its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub buffers: u64,
    pub bind_groups: u64,
    pub pipelines: u64,
    pub dispatches: u64,
    pub submits: u64,
    pub readback_bytes: u64,
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
