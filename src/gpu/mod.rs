//! The GPU backend: the same list of ops as the CPU's, planned once into dispatches of WGSL kernels.
//!
//! Buffers, pipelines and bind groups are made when a model opens and when its weights come; a token
//! writes its position into a uniform, records the dispatches and submits them once, and reads back 16
//! bytes: the chosen token. Results come later: [`Gpu::poll`] tells whether they are there.

mod counters;
mod device;
mod health;
pub mod kernels;
mod options;
mod pass;
mod plan;
mod readback;
pub mod shaders;
mod state;
mod trace;
mod vendor;
mod weights;

use crate::error::Result;
use crate::exec::{DeviceStats, Poll};
use crate::program::*;
use crate::rope::Rotation;
use crate::state::COPIES;
use device::{Buffer, check_size};
use plan::{Arena, Plan};
use readback::Readback;
use shaders::{Arithmetic, Kernel, OP_BYTES, STEP_BYTES, Variant};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
#[cfg(not(target_family = "wasm"))]
use std::sync::Arc;

pub use counters::Counters;
pub use device::{Device, Pipeline, unsuited};
pub use options::{DeviceOptions, PRODUCTS_MAX, Tamper};
pub use plan::segments;
pub use trace::{Output, Pass, Step, Target, Trace};
pub use vendor::Vendor;
pub use weights::Weights;

/// Tokens that run through a group at once during prefill.
pub const BATCH_MAX: usize = 128;

/// Positions of a head that one workgroup goes through before they are split.
const SPLIT_POSITIONS: usize = 128;

/// Rows that the residual stream has room for at first.
const ROWS_MIN: usize = BATCH_MAX;

/// What came of the last pass through the head.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The chosen token, if one was wanted.
    pub token: Option<u32>,
    /// The first group that made a value that is not finite.
    pub damaged: Option<usize>,
    /// Logits or hidden state, if wanted.
    pub values: Vec<f32>,
}

/// Called from outside when results are there; natively from any thread that polls.
#[cfg(not(target_family = "wasm"))]
pub type Wake = Arc<dyn Fn() + Send + Sync>;
/// The same in a browser, where all of it is on one thread.
#[cfg(target_family = "wasm")]
pub type Wake = std::rc::Rc<dyn Fn()>;

/// How much a model is given room for, in tokens.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Of the cache.
    pub context: usize,
    /// Of a batch.
    pub batch: usize,
    /// Of a prompt.
    pub rows_max: usize,
}

/// Which ways of computing may be used. Each but the plainest can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// The variant in which kernels are made.
    pub kernels: Variant,
    /// Attention of one token by several workgroups a head.
    pub splits: bool,
    /// Tokens chosen on the device.
    pub samples: bool,
    /// Neighbouring ops in one dispatch.
    pub fuses: bool,
}

impl Ways {
    /// All that a device can do.
    pub fn of(device: &Device) -> Ways {
        Ways { kernels: device.variant(), splits: true, samples: true, fuses: true }
    }
}

/// Bind groups of a group's dispatches, made for these sets of buffers.
struct Bound {
    sets: [usize; 2],
    single: Vec<wgpu::BindGroup>,
    batch: Vec<wgpu::BindGroup>,
}

/// The state of a model on a GPU.
pub struct Gpu {
    device: Rc<Device>,
    /// The groups that are in its memory.
    pub weights: Weights,
    plan: Plan,
    arena: Arena,
    ways: Ways,
    pipelines: HashMap<Kernel, Rc<Pipeline>>,
    /// Kernels that are not used, and why.
    disabled: Vec<String>,
    activations: Buffer,
    rows: usize,
    step: Buffer,
    params: Buffer,
    caches: Vec<Buffer>,
    /// Of each state that holds the whole past the copies to go back to.
    copies: Vec<Option<[Buffer; COPIES]>>,
    /// Activations prepared for tiles.
    prepared: Buffer,
    readback: Readback,
    /// A part of the state on its way to the host.
    reading: Option<state::Reading>,
    /// Bind groups of each group, for every set of buffers that it has been in.
    bound: Vec<Vec<Bound>>,
    rotations: Vec<Rotation>,
    /// Commands on their way to the queue, and how many dispatches they are.
    recording: Option<(wgpu::CommandEncoder, u64)>,
    /// Positions of the batch that is being recorded, which the device was told.
    begun: Option<Range<usize>>,
    /// The token of the pass is the one that the pass before chooses.
    is_ahead: bool,
    outcome: Outcome,
    room: Room,
    wake: Option<Wake>,
    scratch: Vec<u8>,
    /// What the device had done when the pass began, and what the last pass of a single token cost.
    before: Counters,
    token: Counters,
    /// How much of each adapter there is in what is computed.
    scales: Vec<f32>,
    /// Dispatches of that token's first layer.
    layer_dispatches: u64,
    /// Passes that were sent before the token before them was known.
    ahead: u64,
}

/// Where a model lies on a device and what runs there, before anything is made.
pub struct Design {
    map: weights::Map,
    arena: Arena,
    plan: Plan,
    room: Room,
}

impl Design {
    /// The design for sequences of up to `context` tokens. An error of code `GpuUnsuited` means that the CPU can
    /// run what this device cannot.
    pub fn new(device: &Device, program: &Program, context: usize, ways: Ways) -> Result<Design> {
        let room = Room { context, batch: BATCH_MAX.min(context), rows_max: context };
        Design::with_room(device, program, room, ways.fuses)
    }

    /// The same for batches and prompts of this size at most.
    fn with_room(device: &Device, program: &Program, room: Room, fuses: bool) -> Result<Design> {
        let Room { context, batch, rows_max } = room;
        let map = weights::Map::new(program, device.buffer_bytes_max())?;
        let arena = Arena::new(program, batch);
        check_size(device, "a prompt of the whole context", arena.bytes(rows_max))?;
        check_size(device, "a batch's prepared activations", plan::prepared_bytes(program, batch))?;
        for state in &program.states {
            check_size(device, "the cache of a layer", cache_bytes(state, context))?;
        }
        let plan = Plan::new(program, &map, &arena, device, context, batch, fuses)?;
        Ok(Design { map, arena, plan, room })
    }

    /// Bytes of each group's weights.
    pub fn group_bytes(&self, program: &Program) -> Vec<u64> {
        (0..program.groups.len()).map(|group| self.map.group_bytes(group) as u64).collect()
    }
}

/// Bytes of a state on a device.
fn cache_bytes(state: &State, context: usize) -> usize {
    usize::try_from(state.bytes(context)).unwrap_or(usize::MAX)
}

impl Gpu {
    /// Plans `program` and makes everything but the weights' buffers.
    pub fn new(device: Rc<Device>, program: &Program, context: usize, ways: Ways) -> Result<Gpu> {
        let design = Design::new(&device, program, context, ways)?;
        Ok(Gpu::make(device, program, design, ways))
    }

    /// The same for batches and prompts of this size at most.
    pub fn with_room(device: Rc<Device>, program: &Program, room: Room, ways: Ways) -> Result<Gpu> {
        let design = Design::with_room(&device, program, room, ways.fuses)?;
        Ok(Gpu::make(device, program, design, ways))
    }

    /// Makes what was designed with the same ways of computing.
    pub fn make(device: Rc<Device>, program: &Program, design: Design, ways: Ways) -> Gpu {
        let Design { map, arena, plan, room } = design;
        let Room { context, batch, rows_max } = room;
        // Without logits there is nothing to choose among.
        let ways = Ways { samples: ways.samples && program.makes_logits(), ..ways };
        let rows = ROWS_MIN.min(rows_max);
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let cache = |state| device.buffer("cache", cache_bytes(state, context), storage);
        let caches = program.states.iter().map(cache).collect();
        let is_fixed = |state: &&State| state.fixed_values() > 0;
        let copies = |state| Some(state).filter(is_fixed).map(|state| std::array::from_fn(|_| cache(state)));
        let copies = program.states.iter().map(copies).collect();
        let prepared = plan::prepared_bytes(program, batch);
        let pipelines = pipelines(&device, &plan, ways.kernels);
        let values = program.vocabulary.max(program.slots[0]);
        let factors: Vec<WeightId> = program.ropes.iter().filter_map(|r| r.factors).collect();
        let gpu = Gpu {
            activations: device.buffer("activations", arena.bytes(rows), storage),
            rows,
            step: device.buffer("step", STEP_BYTES, uniform),
            params: device.buffer("params", plan.params_bytes(), uniform),
            caches,
            copies,
            prepared: device.buffer("prepared", prepared, storage),
            readback: Readback::new(&device, 16 * program.groups.len() + values * 4),
            reading: None,
            bound: program.groups.iter().map(|_| Vec::new()).collect(),
            rotations: program.ropes.iter().map(|_| Rotation::default()).collect(),
            weights: Weights::new(program, map, factors.into_iter()),
            recording: None,
            begun: None,
            is_ahead: false,
            outcome: Outcome::default(),
            wake: None,
            scratch: Vec::new(),
            before: Counters::default(),
            token: Counters::default(),
            scales: vec![1.0; program.adapters],
            layer_dispatches: 0,
            ahead: 0,
            device,
            plan,
            arena,
            ways,
            disabled: Vec::new(),
            pipelines,
            room,
        };
        gpu.write_params();
        gpu
    }

    /// Goes on with other ways of computing, before anything was computed; `disabled` says of which kernels
    /// no use is made, and why.
    pub fn adopt(&mut self, program: &Program, ways: Ways, disabled: &[String]) -> Result<()> {
        if ways.fuses != self.ways.fuses {
            let Gpu { weights, arena, device, room: Room { context, batch, .. }, .. } = &*self;
            self.plan = Plan::new(program, &weights.map, arena, device, *context, *batch, ways.fuses)?;
            let usage = self.params.usage();
            self.params = self.device.buffer("params", self.plan.params_bytes(), usage);
            self.write_params();
        }
        self.ways = Ways { samples: ways.samples && program.makes_logits(), ..ways };
        self.disabled = disabled.to_vec();
        self.pipelines = pipelines(&self.device, &self.plan, ways.kernels);
        Ok(())
    }

    /// The kernels that are used.
    pub fn kernels(&self) -> impl Iterator<Item = Kernel> + '_ {
        let is_used = |kernel: &Kernel| match kernel {
            Kernel::AttentionReduce => self.ways.splits,
            Kernel::Top | Kernel::Sample => self.ways.samples,
            _ => true,
        };
        self.pipelines.keys().copied().filter(is_used)
    }

    /// Whether the device takes a kernel; `None` until it has said so.
    pub fn accepted(&self, kernel: Kernel) -> Option<bool> {
        self.pipelines.get(&kernel).map_or(Some(true), |pipeline| pipeline.accepted())
    }

    /// The ways of computing that are used.
    pub fn ways(&self) -> Ways {
        self.ways
    }

    /// Tokens that may run through a group at once. Without tiles nothing is gained by many.
    pub fn batch_max(&self) -> usize {
        if self.ways.kernels.tiles.is_some() { BATCH_MAX } else { plan::TILE_TOKENS }
    }

    /// Hidden states that are read back at once: as many as have room where logits do.
    pub fn hidden_rows_max(&self, program: &Program) -> usize {
        (program.vocabulary / program.slots[0]).clamp(1, self.batch_max())
    }

    /// Every op's parameters, at a place of its own that never changes.
    fn write_params(&self) {
        let mut bytes = vec![0; self.plan.params_bytes()];
        for (slot, dispatch) in bytes.chunks_exact_mut(OP_BYTES).zip(self.plan.all()) {
            for (to, word) in slot.chunks_exact_mut(4).zip(dispatch.words(&self.scales)) {
                to.copy_from_slice(&word.to_le_bytes());
            }
        }
        self.device.write(&self.params, 0, &bytes);
    }

    /// Sets how much of each adapter there is in what is computed from now on.
    pub fn adapt(&mut self, scales: &[f32]) {
        // What was recorded computes with those before.
        self.flush();
        self.scales.copy_from_slice(scales);
        self.write_params();
    }

    /// Bytes of buffers beside weights and cache, for a prompt of the whole context.
    pub fn scratch_bytes(program: &Program, context: usize) -> u64 {
        let arena = Arena::new(program, BATCH_MAX.min(context));
        let batch = BATCH_MAX.min(context);
        let values = program.vocabulary.max(program.slots[0]);
        let copies = 4 * COPIES as u64 * program.fixed_values() as u64;
        (arena.bytes(context) + plan::prepared_bytes(program, batch) + 4 * values) as u64 + copies
    }

    /// The device.
    pub fn device(&self) -> &Rc<Device> {
        &self.device
    }

    /// Sets what is called when results come.
    pub fn set_wake(&mut self, wake: Option<Wake>) {
        self.device.set_wake(wake.clone());
        self.wake = wake;
    }

    /// Makes room in the residual stream for `tokens` rows.
    pub fn reserve(&mut self, tokens: usize) {
        if tokens > self.rows {
            self.rows = tokens.next_power_of_two().min(self.room.rows_max);
            let usage = self.activations.usage();
            self.activations = self.device.buffer("activations", self.arena.bytes(self.rows), usage);
            self.bound.iter_mut().for_each(Vec::clear);
        }
    }

    /// Makes room for a group's weights.
    pub fn allocate(&mut self, program: &Program, group: usize) -> Result<()> {
        self.weights.allocate(&self.device, program, group)
    }

    /// Uploads a part of a weight; see [`Weights::fill`].
    pub fn fill(
        &mut self,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        copy: impl FnMut(Range<usize>, &mut [u8]),
    ) {
        self.weights.fill(&self.device, program, id, range, copy);
    }

    /// Puts values in place of a row of the residual stream, before the batch that it belongs to.
    pub fn set_residual(&mut self, row: usize, values: &[f32]) {
        let quad = u64::from(self.arena.fixed) + row as u64 * u64::from(self.arena.strides[0]);
        self.scratch.clear();
        values.iter().for_each(|v| self.scratch.extend(v.to_le_bytes()));
        self.device.write(&self.activations, quad * 16, &self.scratch);
    }

    /// Gives the memory back, for another in its place: nothing can be computed with this one any more.
    pub fn give_back(&mut self) {
        self.cancel();
        self.weights.clear();
        self.caches.clear();
    }

    /// Gives a group's buffers to whichever comes next.
    pub fn evict(&mut self, group: usize) {
        self.flush();
        self.weights.evict(group);
    }

    /// Whether the results of the oldest pass are there; then [`Gpu::outcome`] has them.
    pub fn poll(&mut self) -> Poll {
        self.device.poll();
        if self.device.is_lost() {
            return Poll::Lost;
        }
        match self.readback.result() {
            None => Poll::Pending,
            Some(true) if self.readback.take(&mut self.outcome) => Poll::Ready,
            Some(_) => Poll::Lost,
        }
    }

    /// Waits for the results of the oldest pass, natively.
    pub fn wait(&mut self) {
        self.device.wait(self.readback.submission());
    }

    /// What came of the last pass.
    pub fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Drops what is under way; its results are not wanted any more.
    pub fn cancel(&mut self) {
        (self.recording, self.begun, self.reading) = (None, None, None);
        self.readback.clear();
    }

    /// What it was asked to do.
    pub fn stats(&self) -> DeviceStats {
        let counters = self.device.counters();
        DeviceStats {
            adapter: Some(self.device.adapter()),
            software: self.device.is_software(),
            subgroups: self.ways.kernels.subgroups,
            arithmetic: self.ways.kernels.tiles.map(Arithmetic::name),
            buffer_bytes_max: self.device.buffer_bytes_max(),
            dispatches_per_token: self.token.dispatches,
            submits_per_token: self.token.submits,
            readback_bytes_per_token: self.token.readback_bytes,
            dispatches_per_layer: self.layer_dispatches,
            passes_ahead: self.ahead,
            submits: counters.submits,
            dispatches: counters.dispatches,
            readback_bytes: counters.readback_bytes,
            uploaded_bytes: counters.uploaded_bytes,
            buffers: counters.buffers,
            bind_groups: counters.bind_groups,
            disabled_kernels: self.disabled.clone(),
        }
    }
}

/// The pipelines of a plan's kernels, as far as the variant has them.
fn pipelines(device: &Device, plan: &Plan, variant: Variant) -> HashMap<Kernel, Rc<Pipeline>> {
    let kernels = plan.kernels().into_iter().filter(|kernel| kernel.is_in(variant));
    kernels.map(|kernel| (kernel, device.pipeline(kernel, variant))).collect()
}
