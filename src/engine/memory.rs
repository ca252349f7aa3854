//! What opening a model takes: bytes by purpose, and which groups can stay in memory under a ceiling.

use super::adapters::AdapterScale;
use super::overflow::ContextOverflow;
use super::sequence;
use crate::cpu::team::{Split, divides};
use crate::cpu::{Cpu, DISK_STAGE_BYTES, READ_BYTES, Shard, expert_bytes, expert_cache_bytes, held_bytes};
use crate::error::{ChordError, ErrorCode, Result};
use crate::pager::{Pace, Placement, spread};
use crate::program::{KvFormat, Op, Program, RowView};
use serde::{Deserialize, Serialize};

/// What a model is opened with, as JavaScript names it; each option may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "CoreOptions", optional_fields))]
#[serde(rename_all = "camelCase", default)]
pub struct OpenOptions {
    /// Tokens of context; without it the model's own, up to a limit.
    pub context_length: Option<usize>,
    /// What becomes of a request that outgrows it.
    #[cfg_attr(test, ts(as = "Option<ContextOverflow>"))]
    pub context_overflow: ContextOverflow,
    /// Ceiling for weights, cache and scratch, in bytes.
    pub max_resident_bytes: Option<u64>,
    /// Memory of the device, where it is known.
    pub device_bytes: Option<u64>,
    /// The caller named the device: a ceiling that is too small for it is an error, and no reason to compute on
    /// the CPU.
    #[cfg_attr(test, ts(as = "Option<bool>"))]
    pub is_device_named: bool,
    /// How keys and values are kept, in half precision unless something else is asked for.
    #[cfg_attr(test, ts(as = "Option<KvFormat>"))]
    pub kv_cache: KvFormat,
    /// Groups that the ring holds at most.
    pub prefetch_distance: Option<usize>,
    /// The source is on disk, in the store or as a file of the person's: matrices that do not fit the ceiling
    /// are read from there while they are multiplied, instead of passing through the ring.
    #[cfg_attr(test, ts(as = "Option<bool>"))]
    pub from_disk: bool,
    /// Bytes to read from disk at once where the ceiling has room for them: a browser takes its time to begin
    /// with a file of the person's.
    pub read_bytes: Option<u64>,
    /// Requests that may run at a time on the CPU, each with a sequence of its own, where that needs no more memory than
    /// is allowed; without it there is one.
    pub max_sequences: Option<usize>,
    /// Threads that may compute on the CPU; without it there is one.
    pub threads: Option<usize>,
    /// Bytes of weights for each of them at least: fewer threads compute a smaller model.
    #[cfg_attr(test, ts(as = "Option<u64>"))]
    pub thread_bytes: u64,
    /// LoRA adapters, whose files follow the model's parts.
    #[cfg_attr(test, ts(as = "Option<Vec<AdapterScale>>"))]
    pub adapters: Vec<AdapterScale>,
    /// What the memory of this build holds beside the tokenizer, where that is less than its pointers reach.
    pub addressable_bytes: Option<u64>,
}

/// What says how much memory a model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// The model: all of it fits.
    Model,
    /// The caller's ceiling.
    Caller,
    /// The device's memory, of which a page should leave the most.
    Device,
    /// What the memory of a build can hold, or that of a GPU.
    AddressSpace,
}

/// What a backend takes of memory, and how it can do with less.
pub struct Demand {
    /// Bytes of each group.
    pub sizes: Vec<u64>,
    /// Bytes of activations and the like.
    pub scratch_bytes: u64,
    /// Where memory ends.
    pub bytes_max: u64,
    /// Matrices can be read from disk while they are multiplied.
    pub reads_disk: bool,
}

/// Bytes by purpose, computed from the header alone.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MemoryPlan {
    /// Weights that are in memory at once.
    pub weight_bytes: u64,
    /// The KV cache, or what else a sequence keeps.
    pub kv_bytes: u64,
    /// How keys and values are kept: as was asked for, where some of the layers can.
    pub kv_cache: KvFormat,
    /// Activations and the like.
    pub scratch_bytes: u64,
    /// The ceiling in force.
    pub budget_bytes: u64,
    /// Where the ceiling comes from.
    pub bound: Bound,
    /// The lowest ceiling that works.
    pub least_bytes: u64,
    /// Where each group is kept.
    #[serde(skip)]
    pub placements: Vec<Placement>,
    /// Bytes that are read from disk at once.
    #[serde(skip)]
    pub read_bytes: u64,
    /// Slots through which the others pass.
    pub ring: usize,
    /// Layers that stay in memory.
    pub pinned_layers: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Bytes of the groups that pass through the ring, which every pass takes from the source again.
    pub passing_bytes: u64,
    /// Whether every pass reads whole matrices from disk.
    #[serde(skip)]
    pub rereads: bool,
    /// Bytes of experts that stay on disk, of which a token uses few.
    pub expert_bytes: u64,
    /// Memory for those of them that are used most.
    pub expert_cache_bytes: u64,
    /// Threads that compute. Where a part of the model passes through memory, or stays on disk, there is one.
    pub threads: usize,
    /// Sequences that may be computed together.
    #[serde(skip)]
    pub lanes: usize,
    /// Bytes that each of them but the first takes besides, for the whole context.
    #[serde(skip)]
    pub lane_bytes: u64,
}

/// Sequences that are computed together at most.
const LANES_MAX: usize = 32;

impl OpenOptions {
    /// Sequences that may be computed together as far as these options go.
    pub fn lanes_max(&self) -> usize {
        self.max_sequences.unwrap_or(1).clamp(1, LANES_MAX)
    }
}

/// What a 32-bit memory can hold beside the tokenizer and the allocator's own: the ceiling where the
/// caller sets none.
const NARROW_BYTES: u64 = 3_700_000_000;

/// The same of a 64-bit memory, which browsers end at 16 GiB.
pub const WIDE_BYTES: u64 = 16_800_000_000;

/// The same of this build.
const ADDRESSABLE_BYTES: u64 = match (usize::BITS, cfg!(target_family = "wasm")) {
    (32, _) => NARROW_BYTES,
    (_, true) => WIDE_BYTES,
    (_, false) => u64::MAX,
};

/// The share of a device's memory that is taken unasked, where the rest can be read from disk: one half.
const DEVICE_SHARE: u64 = 2;

/// Slots of the ring unless the caller asks for more: one in use, one on its way.
const RING_DEFAULT: usize = 2;

/// Slots that it may grow to, where answers take longer than bytes.
const RING_MAX: usize = 4;

/// How much shorter passes must become for the ring to grow.
const GAIN_MIN: f64 = 0.05;

impl MemoryPlan {
    /// Chooses what stays in memory on the CPU. A ceiling that cannot work is refused with what it would need.
    pub fn new(program: &Program, context: usize, options: &OpenOptions) -> Result<MemoryPlan> {
        let demand = Demand {
            sizes: program.groups.iter().map(|g| g.bytes as u64).collect(),
            scratch_bytes: Cpu::scratch_bytes(program, context) + sequence::TABLE_BYTES,
            bytes_max: options.addressable_bytes.unwrap_or(ADDRESSABLE_BYTES),
            reads_disk: true,
        };
        Self::of(demand, program, context, options)
    }

    /// The same on as many threads as are allowed, pay, and have room for all of the model in their memories.
    pub fn on_threads(program: &Program, context: usize, options: &OpenOptions) -> Result<MemoryPlan> {
        let plan = Self::on_as_many_threads(program, context, options)?;
        Ok(plan.with_lanes(context, options))
    }

    /// With room for as many sequences as are allowed, where all of the model stays in memory.
    fn with_lanes(mut self, context: usize, options: &OpenOptions) -> MemoryPlan {
        if self.bound == Bound::Model {
            let (ceiling, _) = self.ceiling(options.addressable_bytes.unwrap_or(ADDRESSABLE_BYTES), options);
            let most = options.lanes_max().min(context.max(1));
            let more = ceiling.saturating_sub(self.budget_bytes).checked_div(self.lane_bytes).unwrap_or(u64::MAX);
            self.lanes = 1 + more.min(most as u64 - 1) as usize;
        }
        self
    }

    fn on_as_many_threads(program: &Program, context: usize, options: &OpenOptions) -> Result<MemoryPlan> {
        let plan = Self::new(program, context, options)?;
        let most = options.threads.unwrap_or(1) as u64;
        let paying = plan.weight_bytes.checked_div(options.thread_bytes).unwrap_or(most);
        let threads = most.min(paying) as usize;
        if threads < 2 || !divides(program) {
            return Ok(plan);
        }
        let mut team = MemoryPlan {
            weight_bytes: 0,
            kv_bytes: 0,
            scratch_bytes: sequence::TABLE_BYTES,
            bound: Bound::Model,
            placements: vec![Placement::Pinned; plan.placements.len()],
            read_bytes: READ_BYTES,
            ring: 0,
            pinned_layers: plan.layers,
            passing_bytes: 0,
            rereads: false,
            expert_bytes: 0,
            expert_cache_bytes: 0,
            threads,
            lane_bytes: 0,
            ..plan.clone()
        };
        let mut largest = 0;
        for shard in 0..threads {
            let split = Split::new(program, shard, threads);
            let weights: u64 = split.program.groups.iter().map(|group| group.bytes as u64).sum();
            let (cache, scratch) =
                (split.program.state_bytes(context), Shard::scratch_bytes(&split, context, options.lanes_max()));
            team.weight_bytes += weights;
            team.kv_bytes += cache;
            team.scratch_bytes += scratch;
            team.lane_bytes += cache + Cpu::lane_bytes(&split.program);
            largest = largest.max(weights + cache + scratch);
        }
        team.budget_bytes = team.weight_bytes + team.kv_bytes + team.scratch_bytes;
        let (ceiling, _) = plan.ceiling(u64::MAX, options);
        let addressable = options.addressable_bytes.unwrap_or(ADDRESSABLE_BYTES);
        Ok(if team.budget_bytes <= ceiling && largest <= addressable { team } else { plan })
    }

    /// The bytes that a 64-bit memory would hold of the model, if the ceiling allows more than this build's can, those of
    /// its threads together.
    pub fn outgrown(program: &Program, context: usize, options: &OpenOptions) -> Option<u64> {
        let is_too_small = match Self::on_threads(program, context, options) {
            Ok(plan) => plan.bound == Bound::AddressSpace,
            Err(error) => error.code == ErrorCode::BudgetTooSmall,
        };
        let wide = OpenOptions { addressable_bytes: Some(WIDE_BYTES), ..options.clone() };
        let wide = Self::new(program, context, &wide).ok().filter(|_| is_too_small)?;
        (wide.budget_bytes > options.addressable_bytes.unwrap_or(ADDRESSABLE_BYTES)).then_some(wide.budget_bytes)
    }

    /// The same on a backend that takes so much.
    pub fn of(demand: Demand, program: &Program, context: usize, options: &OpenOptions) -> Result<MemoryPlan> {
        let Demand { sizes, scratch_bytes, bytes_max, reads_disk } = demand;
        let layers = sizes.len() - 2;
        let mut plan = MemoryPlan {
            weight_bytes: sizes.iter().sum(),
            kv_bytes: program.state_bytes(context),
            kv_cache: program.kv_formats().max().unwrap_or_default(),
            scratch_bytes,
            budget_bytes: 0,
            bound: Bound::Model,
            least_bytes: 0,
            placements: vec![Placement::Pinned; sizes.len()],
            read_bytes: READ_BYTES,
            ring: 0,
            pinned_layers: layers,
            layers,
            passing_bytes: 0,
            rereads: false,
            expert_bytes: 0,
            expert_cache_bytes: 0,
            threads: 1,
            lanes: 1,
            lane_bytes: program.state_bytes(context) + Cpu::lane_bytes(program),
        };
        let fixed = plan.kv_bytes + plan.scratch_bytes;
        plan.budget_bytes = fixed + plan.weight_bytes;
        let vectors = (0..sizes.len()).map(|group| held_bytes(program, group, Placement::Disk));
        let from_disk = DISK_STAGE_BYTES + vectors.sum::<u64>();
        let by_ring = ends(&sizes) + 2 * largest(&sizes);
        // For the smallest models a ring takes less than what reading from disk needs.
        let streams = options.from_disk && reads_disk && from_disk < by_ring;
        plan.least_bytes = (fixed + if streams { from_disk } else { by_ring }).min(plan.budget_bytes);
        let (ceiling, bound) = plan.ceiling(bytes_max, options);
        if ceiling < plan.budget_bytes {
            (plan.budget_bytes, plan.bound) = (ceiling, bound);
            let read_bytes = options.read_bytes.unwrap_or(0).min(matrix_bytes_max(program));
            match streams {
                true => plan.stream(program, fixed, read_bytes)?,
                false => plan.page(&sizes, fixed, options.prefetch_distance)?,
            }
        }
        plan.passing_bytes = plan.passing(program);
        Ok(plan)
    }

    /// Bytes of the groups of the ring as their source has them.
    pub fn passing(&self, program: &Program) -> u64 {
        let passes = |(placement, _): &(&Placement, _)| **placement == Placement::Ring;
        self.placements.iter().zip(&program.groups).filter(passes).map(|(_, group)| group.bytes as u64).sum()
    }

    /// The ceiling and what it comes from. Unasked, layers are not fetched from a network again and again for
    /// the device's sake: that only pays where they are on disk.
    fn ceiling(&self, most: u64, options: &OpenOptions) -> (u64, Bound) {
        let device = options.device_bytes.filter(|_| options.from_disk);
        let (ceiling, bound) = match (options.max_resident_bytes, device) {
            (Some(bytes), _) => (bytes, Bound::Caller),
            (None, Some(bytes)) => ((bytes / DEVICE_SHARE).max(self.least_bytes), Bound::Device),
            (None, None) => (u64::MAX, Bound::AddressSpace),
        };
        if ceiling <= most { (ceiling, bound) } else { (most, Bound::AddressSpace) }
    }

    /// Keeps in memory what fits, layers first, and of the rest the vectors. Every byte of a matrix on disk is read once a
    /// pass, but of an embedding that is not the head's matrix too only the tokens' rows, and of a mixture only the
    /// experts in use: so these stay on disk, and memory that is left has those that are used most. There is no use in
    /// reading more than `read_bytes_max` at once.
    fn stream(&mut self, program: &Program, fixed: u64, read_bytes_max: u64) -> Result<()> {
        self.scratch_bytes += DISK_STAGE_BYTES;
        let need = self.least_bytes;
        if need > self.budget_bytes {
            return Err(self.too_small(fixed, "norms and biases are small", need));
        }
        let mut left = self.budget_bytes - need;
        let more = read_bytes_max.saturating_sub(READ_BYTES).min(left);
        self.read_bytes += more;
        self.scratch_bytes += more;
        left -= more;
        self.placements.fill(Placement::Disk);
        self.pinned_layers = 0;
        let embedding = if is_multiplied(program, 0) { Some(0) } else { None };
        let multiplied = || (1..program.groups.len()).chain(embedding);
        multiplied().for_each(|group| self.bring(program, group, &mut left));
        self.rereads = multiplied().any(|group| self.placements[group] == Placement::Disk);
        self.expert_bytes = expert_bytes(program);
        self.expert_cache_bytes = expert_cache_bytes(program, left);
        left -= self.expert_cache_bytes;
        if embedding.is_none() {
            self.bring(program, 0, &mut left);
        }
        Ok(())
    }

    /// Keeps a group that is on disk in memory if it fits what is `left`, but for experts.
    fn bring(&mut self, program: &Program, group: usize, left: &mut u64) {
        let has_experts = program.experts(group).next().is_some();
        let placement = if has_experts { Placement::Mixture } else { Placement::Pinned };
        let more = held_bytes(program, group, placement) - held_bytes(program, group, Placement::Disk);
        if more <= *left {
            *left -= more;
            self.placements[group] = placement;
            self.pinned_layers += usize::from(placement == Placement::Pinned && group > 0 && group <= self.layers);
        }
    }

    fn too_small(&self, fixed: u64, parts: &str, need: u64) -> ChordError {
        let text = format!(
            "maxResidentBytes {} cannot work: cache and scratch take {fixed} bytes, {parts}: {need} are needed",
            self.budget_bytes
        );
        ChordError::new(ErrorCode::BudgetTooSmall, text).with("need", need).with("have", self.budget_bytes)
    }

    /// Which groups the pager keeps once they came: all but those of the ring.
    pub fn kept(&self) -> Vec<bool> {
        self.placements.iter().map(|placement| *placement != Placement::Ring).collect()
    }

    /// Pins the embedding and the head, which every token reads, and as many layers as fit beside the ring.
    fn page(&mut self, sizes: &[u64], fixed: u64, distance: Option<usize>) -> Result<()> {
        let layers = &sizes[1..sizes.len() - 1];
        let (largest, ends) = (largest(sizes), ends(sizes));
        let need = self.least_bytes;
        if need > self.budget_bytes {
            let parts = format!("embedding and head take {ends} bytes, and two layers {}", 2 * largest);
            return Err(self.too_small(fixed, &parts, need));
        }
        let room = (self.budget_bytes - fixed - ends) / largest.max(1);
        self.ring = distance.map_or(RING_DEFAULT, |d| d + 1).clamp(1, room.min(layers.len() as u64) as usize);
        let stays = spread(layers, self.budget_bytes - fixed - ends - self.ring as u64 * largest);
        self.pinned_layers = stays.iter().filter(|stays| **stays).count();
        let placements = stays.into_iter().map(|stays| if stays { Placement::Pinned } else { Placement::Ring });
        self.placements.splice(1..sizes.len() - 1, placements);
        Ok(())
    }

    /// Lengthens the ring if passes become shorter at this pace, although layers have to be given up for it:
    /// the last ones of those that stay. The groups that were.
    pub fn lengthen(&mut self, sizes: &[u64], pace: &Pace) -> Vec<usize> {
        let (largest, groups, passing) = (largest(sizes), sizes.len(), self.layers - self.pinned_layers);
        let used: u64 = (0..groups).filter(|g| self.placements[*g] == Placement::Pinned).map(|g| sizes[g]).sum();
        let slack = self.budget_bytes - self.kv_bytes - self.scratch_bytes - used - self.ring as u64 * largest;
        let given_up = |slots: usize| {
            let mut missing = ((slots - self.ring) as u64 * largest).saturating_sub(slack);
            let pinned = (1..groups - 1).rev().filter(|g| self.placements[*g] == Placement::Pinned);
            let given: Vec<usize> = pinned
                .take_while(|group| {
                    let needed = missing > 0;
                    missing = missing.saturating_sub(sizes[*group]);
                    needed
                })
                .collect();
            (missing == 0).then_some(given)
        };
        let mut best = (pace.pass(groups, passing, largest, self.ring) * (1.0 - GAIN_MIN), self.ring, Vec::new());
        for slots in self.ring + 1..=RING_MAX {
            let Some(given) = given_up(slots) else { break };
            let time = pace.pass(groups, passing + given.len(), largest, slots);
            if time < best.0 {
                best = (time, slots, given);
            }
        }
        let (_, slots, given) = best;
        self.ring = slots;
        self.pinned_layers -= given.len();
        given.iter().for_each(|group| self.placements[*group] = Placement::Ring);
        given
    }
}

/// Bytes of the largest matrix of a product: of a mixture, an expert's.
fn matrix_bytes_max(program: &Program) -> u64 {
    let bytes = |view: RowView| (program[view.weight].bytes / program[view.weight].rows) as u64 * view.rows as u64;
    program.all_ops().filter_map(Op::matrix).map(bytes).max().unwrap_or(0)
}

/// Whether some product is with a matrix of this group: else of its tables only rows are taken.
fn is_multiplied(program: &Program, group: usize) -> bool {
    program.all_ops().filter_map(Op::matrix).any(|view| program[view.weight].group == group)
}

/// Bytes of embedding and head, which every token reads.
fn ends(sizes: &[u64]) -> u64 {
    sizes[0] + sizes[sizes.len() - 1]
}

/// Bytes of the largest layer.
fn largest(sizes: &[u64]) -> u64 {
    sizes[1..sizes.len() - 1].iter().copied().max().unwrap_or(0)
}
