//! What an engine tells its owner of itself and of its model, as JSON. `www/src/wire/generated.ts` has the same shapes
//! for TypeScript: a test writes it from these definitions and those of [`Event`](super::Event).

#[cfg(test)]
mod typescript;

use super::compute::Compute;
use super::{Engine, MemoryPlan};
use crate::cpu::ExpertCounters;
use crate::exec::DeviceStats;
use crate::pager::{Counters, Placement, State};
use crate::program::KvFormat;
use serde::Serialize;
use serde_json::{Map, Value};

/// What a model's header says of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ModelDescription {
    /// The architecture, as the file names it.
    pub architecture: String,
    /// The model's name, or its architecture where it has none.
    pub name: String,
    /// Layers between the embedding and the head.
    pub layers: usize,
    /// Tokens of context that the engine is opened with.
    pub context_length: usize,
    /// Tokens of context that the model was trained for.
    pub trained_context_length: usize,
    /// Tokens of the vocabulary.
    pub vocabulary_size: usize,
    /// The tensor type that most of the weights' bytes are of.
    pub quantization: &'static str,
    /// Whether the file brings a chat template. Without one, chats go through ChatML if the vocabulary has its tokens,
    /// and fail with `TemplateFailed` if not.
    pub has_chat_template: bool,
    /// The file's metadata; long arrays are left out.
    #[cfg_attr(test, ts(type = "Record<string, unknown>"))]
    pub metadata: Map<String, Value>,
}

/// An open model.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// What its header says.
    #[serde(flatten)]
    pub description: ModelDescription,
    /// What was found odd about the file but can be lived with; more may be found while the engine is open.
    pub warnings: Vec<String>,
    /// False for a model whose vocabulary has no text: it takes and gives token ids.
    pub has_text: bool,
}

/// What opening a model would take.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "CorePlan"))]
#[serde(rename_all = "camelCase")]
pub struct OpenPlan {
    /// What its header says.
    pub model: ModelDescription,
    /// Bytes of its tensors.
    pub download_bytes: u64,
    /// Bytes by purpose; without the caller's ceiling where that is too low.
    pub memory: MemoryPlan,
    /// Why the model cannot be opened under the ceiling that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub reason: Option<String>,
    /// Why the device cannot run it, so that the figures are the CPU's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub unsuited: Option<String>,
}

/// What an open model takes, and how its passes went.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "CoreStats"))]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// What computes.
    #[cfg_attr(test, ts(type = "'webgpu' | 'cpu'"))]
    pub device: &'static str,
    /// Threads that compute.
    pub threads: usize,
    /// Requests that run at a time, and what was computed of them together.
    pub sequences: SequenceStats,
    /// Bytes of memory.
    pub memory: MemoryStats,
    /// The layers and their visits.
    pub layers: LayerStats,
    /// Experts that stay on disk, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub experts: Option<ExpertStats>,
    /// The GPU, where one is in use or was given up because its kernels were wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub gpu: Option<DeviceStats>,
}

/// Requests that run at a time: each has a sequence of its own, and where they write they go on together, in passes of a
/// token each.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SequenceStats {
    /// How many may run at a time.
    pub most: usize,
    /// How many run.
    pub running: usize,
    /// How many had a token in the last pass that was one of several.
    pub together: usize,
    /// Such passes since the model was opened.
    pub passes: u64,
    /// Tokens that they computed.
    pub tokens: u64,
}

/// Bytes of memory that the core takes of whatever computes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// Weights, KV cache and scratch that are there now.
    pub resident_bytes: u64,
    /// The most that they ever were.
    pub peak_resident_bytes: u64,
    /// The ceiling that they stay under.
    pub budget_bytes: u64,
    /// The KV cache, or what else a sequence keeps, for the whole context: the CPU takes memory for it as the sequence
    /// grows, so that `residentBytes` has less of it at first.
    pub kv_bytes: u64,
    /// How keys and values are kept.
    pub kv_cache: KvFormat,
}

/// Visits are those of the layers, of the embedding and of the head: `hits` are those that found it in memory, or all of it
/// but experts, `syncLoads` those that had to wait for it, and `direct` those of one on disk that was read while it was
/// multiplied.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct LayerStats {
    /// Layers of the model.
    pub total: usize,
    /// Layers that stay in memory.
    pub pinned: usize,
    /// Slots of memory that the other layers pass through.
    pub ring: usize,
    /// Bytes of the layers that pass through memory, each fetched or read again for every pass.
    pub passing_bytes: u64,
    /// Visits that found their layer in memory.
    pub hits: u64,
    /// Visits that had to wait for their layer.
    pub sync_loads: u64,
    /// Visits of a layer on disk that was read while it was multiplied.
    pub direct: u64,
    /// Layers whose bytes had all come before their visit.
    pub prefetched: u64,
    /// Layers that left memory for another.
    pub evictions: u64,
}

/// Experts that stay on disk, and memory for those of them that are used most. What is counted are an expert's matrices,
/// each once for a token, or for the tokens of a batch that chose it.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ExpertStats {
    /// Bytes of all experts.
    pub bytes: u64,
    /// Memory for some of them.
    pub cache_bytes: u64,
    /// Matrices that were in memory when they were needed.
    pub hits: u64,
    /// Matrices that were read.
    pub reads: u64,
}

/// Where the bytes of a group of tensors are. `absent`: still to be fetched, or fetched again. `fetching`: on its way
/// into memory, or to the disk from which it is computed. `stored`: not, or of a mixture not all, in memory, but all its
/// bytes are on the person's disk. `ring`: in memory, passing through. `pinned`: in memory, to stay. `computing`: what is computed now,
/// from memory or from disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum GroupState {
    /// Nowhere yet, or no more.
    Absent,
    /// On its way.
    Fetching,
    /// In a slot of the ring.
    Ring,
    /// In memory of its own.
    Pinned,
    /// Computed now, or next.
    Computing,
    /// On disk.
    Stored,
}

impl GroupState {
    /// Every state, by the number that stands for it where states cross to JavaScript.
    pub const ALL: [GroupState; 6] = {
        use GroupState::{Absent, Computing, Fetching, Pinned, Ring, Stored};
        [Absent, Fetching, Ring, Pinned, Computing, Stored]
    };
}

impl Engine {
    /// The model, as [`ModelInfo`] has it.
    pub fn info(&self) -> &Value {
        &self.opened.info
    }

    /// The state of each group: the embedding, the layers, the head.
    pub fn group_states(&self) -> impl Iterator<Item = GroupState> + '_ {
        self.groups().enumerate().map(|(group, state)| match state {
            State::Resident if self.computing() == Some(group) => GroupState::Computing,
            State::Absent => GroupState::Absent,
            State::Fetching => GroupState::Fetching,
            State::Resident => match self.placement(group) {
                Placement::Ring => GroupState::Ring,
                Placement::Pinned => GroupState::Pinned,
                Placement::Disk | Placement::Mixture => GroupState::Stored,
            },
        })
    }

    /// Memory and layers, as [`Stats`] has them.
    pub fn stats(&self) -> Value {
        let Engine { opened, loading, compute: Compute { backend, .. }, .. } = self;
        let Counters { hits, sync_loads, direct, prefetched, evictions } = loading.pager.counters();
        let layers = 1..loading.pager.len() - 1;
        let stats = Stats {
            device: backend.name(),
            threads: backend.threads(),
            sequences: self.sequence_stats(),
            memory: MemoryStats {
                resident_bytes: loading.resident_bytes(backend),
                peak_resident_bytes: loading.peak_bytes(backend),
                budget_bytes: loading.plan.budget_bytes + loading.plan.lane_bytes * (backend.lanes() as u64 - 1),
                kv_bytes: loading.plan.kv_bytes,
                kv_cache: loading.plan.kv_cache,
            },
            layers: LayerStats {
                total: layers.len(),
                pinned: layers.filter(|group| self.placement(*group) == Placement::Pinned).count(),
                ring: loading.pager.ring(),
                passing_bytes: loading.plan.passing(&opened.program),
                hits,
                sync_loads,
                direct,
                prefetched,
                evictions,
            },
            experts: self.expert_stats(),
            gpu: self.device_stats(),
        };
        json(&stats)
    }

    fn expert_stats(&self) -> Option<ExpertStats> {
        let MemoryPlan { expert_bytes: bytes, expert_cache_bytes: cache_bytes, .. } = self.loading.plan;
        let ExpertCounters { hits, reads } = self.compute.backend.expert_counters();
        (bytes > 0).then_some(ExpertStats { bytes, cache_bytes, hits, reads })
    }

    #[cfg(not(feature = "gpu"))]
    fn device_stats(&self) -> Option<DeviceStats> {
        None
    }
}

/// A report as JSON.
pub fn json(report: &impl Serialize) -> Value {
    serde_json::to_value(report).expect("reports are plain data")
}
