//! The GPU backend: the same list of ops as the CPU's, planned once into dispatches of WGSL kernels.
//!
//! Buffers, pipelines and bind groups are made when a model opens and when its weights come; a token
//! writes its position into a uniform, records the dispatches and submits them once, and reads back 16
//! bytes: the chosen token. Results come later: [`Gpu::poll`] tells whether they are there.

mod device;
mod layout;
mod plan;
pub mod shaders;
mod vendor;
mod verify;
mod weights;

use crate::error::{ChordError, Result};
use crate::op::*;
use crate::rope::Rotation;
use device::check_size;
use plan::{Arena, Cache, Condition, Depth, Dispatch, Plan, SPLITS_MAX};
use shaders::{Arithmetic, Kernel, OP_BYTES, STEP_BYTES, Variant};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use verify::Verifier;

pub use device::{Counters, Device, DeviceOptions, PRODUCTS_MAX, Pipeline, Tamper};
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
#[cfg(target_family = "wasm")]
pub type Wake = std::rc::Rc<dyn Fn()>;

/// A readback under way: its size, and its result once it came.
struct Reading {
    bytes: usize,
    has_token: bool,
    done: Arc<Mutex<Option<bool>>>,
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
    pub weights: Weights,
    plan: Plan,
    arena: Arena,
    variant: Variant,
    pipelines: HashMap<Kernel, Rc<Pipeline>>,
    /// The self-test, until it has ended.
    verifier: Option<Box<Verifier>>,
    disabled: Vec<String>,
    activations: wgpu::Buffer,
    rows: usize,
    step: wgpu::Buffer,
    params: wgpu::Buffer,
    caches: Vec<wgpu::Buffer>,
    /// Activations prepared for tiles.
    prepared: wgpu::Buffer,
    readback: wgpu::Buffer,
    /// Bind groups of each group, for every set of buffers that it has been in.
    bound: Vec<Vec<Bound>>,
    rotations: Vec<Rotation>,
    /// Commands on their way to the queue, and how many dispatches they are.
    recording: Option<(wgpu::CommandEncoder, u64)>,
    /// The device knows where the batch stands.
    begun: bool,
    reading: Option<Reading>,
    outcome: Outcome,
    context: usize,
    wake: Option<Wake>,
    scratch: Vec<u8>,
    /// What the device had done when the pass began, and what the last pass of a single token cost.
    before: Counters,
    token: Counters,
    /// Dispatches of that token's first layer.
    layer_dispatches: u64,
}

impl Gpu {
    /// Plans `program` and makes everything but the weights' buffers; then the self-test begins. An error of
    /// code `GpuUnsuited` means that the CPU can run what this device cannot.
    pub fn new(device: Device, program: &Program, context: usize, fuse: bool) -> Result<Gpu> {
        let device = Rc::new(device);
        let variant = device.variant();
        let mut gpu = Gpu::with(device.clone(), program, context, variant, fuse)?;
        gpu.verifier = Some(Box::new(Verifier::new(device, gpu.plan.kernels())));
        Ok(gpu)
    }

    /// The same without a self-test, for the self-test.
    fn with_variant(device: Rc<Device>, program: &Program, context: usize, variant: Variant) -> Result<Gpu> {
        Gpu::with(device, program, context, variant, true)
    }

    fn with(device: Rc<Device>, program: &Program, context: usize, variant: Variant, fuse: bool) -> Result<Gpu> {
        let batch = BATCH_MAX.min(context);
        let map = weights::Map::new(program, device.buffer_bytes_max())?;
        let arena = Arena::new(program, batch);
        let plan = Plan::new(program, &map, &arena, &device, context, batch, fuse)?;
        let rows = ROWS_MIN.min(context);
        check_size(&device, "a prompt of the whole context", arena.bytes(context))?;
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let caches = program.kv_widths.iter().map(|(key, value)| {
            let bytes = (key + value) * context * 2;
            check_size(&device, "the cache of a layer", bytes)?;
            Ok(device.buffer("cache", bytes, storage))
        });
        let caches = caches.collect::<Result<Vec<_>>>()?;
        let prepared = plan::prepared_bytes(program, batch);
        check_size(&device, "a batch's prepared activations", prepared)?;
        let pipelines = pipelines(&device, &plan, variant);
        let values = program.vocabulary.max(program.slots[0]);
        let factors: Vec<WeightId> = program.ropes.iter().filter_map(|r| r.factors).collect();
        let gpu = Gpu {
            activations: device.buffer("activations", arena.bytes(rows), storage),
            rows,
            step: device.buffer("step", STEP_BYTES, uniform),
            params: device.buffer("params", plan.params_bytes(), uniform),
            caches,
            prepared: device.buffer("prepared", prepared, storage),
            readback: device.buffer(
                "readback",
                16 + values * 4,
                wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            ),
            bound: program.groups.iter().map(|_| Vec::new()).collect(),
            rotations: program.ropes.iter().map(|_| Rotation::default()).collect(),
            weights: Weights::new(program, map, factors.into_iter()),
            recording: None,
            begun: false,
            reading: None,
            outcome: Outcome::default(),
            wake: None,
            scratch: Vec::new(),
            before: Counters::default(),
            token: Counters::default(),
            layer_dispatches: 0,
            device,
            plan,
            arena,
            variant,
            verifier: None,
            disabled: Vec::new(),
            pipelines,
            context,
        };
        gpu.write_params();
        Ok(gpu)
    }

    /// Every op's parameters, at a place of its own that never changes.
    fn write_params(&self) {
        let mut bytes = vec![0; self.plan.params_bytes()];
        for (slot, dispatch) in bytes.chunks_exact_mut(OP_BYTES).zip(self.plan.all()) {
            for (to, word) in slot.chunks_exact_mut(4).zip(&dispatch.params) {
                to.copy_from_slice(&word.to_le_bytes());
            }
        }
        self.device.write(&self.params, 0, &bytes);
    }

    /// Bytes of buffers beside weights and cache, for a prompt of the whole context.
    pub fn scratch_bytes(program: &Program, context: usize) -> u64 {
        let arena = Arena::new(program, BATCH_MAX.min(context));
        let batch = BATCH_MAX.min(context);
        let values = program.vocabulary.max(program.slots[0]);
        (arena.bytes(context) + plan::prepared_bytes(program, batch) + 4 * values) as u64
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Sets what is called when results come.
    pub fn set_wake(&mut self, wake: Option<Wake>) {
        self.device.set_wake(wake.clone());
        if let Some(verifier) = &mut self.verifier {
            verifier.set_wake(wake.clone());
        }
        self.wake = wake;
    }

    /// Goes on with the self-test; nothing else may run before it is `Ready`.
    pub fn verify(&mut self) -> Result<Poll> {
        let Some(verifier) = &mut self.verifier else { return Ok(Poll::Ready) };
        self.device.poll();
        let poll = verifier.poll()?;
        if poll == Poll::Ready {
            let (variant, disabled) = verifier.verdict();
            self.disabled = disabled.to_vec();
            if variant != self.variant {
                self.pipelines = pipelines(&self.device, &self.plan, variant);
            }
            self.variant = variant;
            self.verifier = None;
        }
        Ok(poll)
    }

    /// Makes room in the residual stream for `tokens` rows.
    pub fn reserve(&mut self, tokens: usize) {
        if tokens > self.rows {
            self.rows = tokens.next_power_of_two().min(self.context);
            let usage = self.activations.usage();
            self.activations.destroy();
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
        range: std::ops::Range<usize>,
        copy: impl FnMut(std::ops::Range<usize>, &mut [u8]),
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

    /// Records a group's dispatches for a batch. A single token's are submitted with the head, a prompt's
    /// group by group. The head asks for what is `wanted`.
    pub fn run(&mut self, program: &Program, group: usize, batch: &Batch, wanted: Wanted) -> Result<()> {
        let tokens = batch.tokens.len();
        let head = group + 1 == program.groups.len();
        if !self.begun {
            self.begin(program, batch, wanted);
        }
        let bound = self.bind(program, group)?;
        self.recording.get_or_insert_with(|| (self.device.encoder(), 0));
        let splits = self.splits(batch);
        let is_single = tokens == 1;
        let uses_tiles = self.variant.tiles.is_some() && plan::uses_tiles(tokens);
        let bound = &self.bound[group][bound];
        let (dispatches, groups) = match is_single {
            true => (&self.plan.single[group], &bound.single),
            false => (&self.plan.batch[group], &bound.batch),
        };
        let (encoder, recorded) = self.recording.as_mut().expect("recording has begun");
        let before = *recorded;
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let most = self.device.workgroups_max();
            for (dispatch, bind) in dispatches.iter().zip(groups) {
                let runs = match dispatch.condition {
                    Condition::Always => true,
                    Condition::Split => splits > 1,
                    Condition::Few => !uses_tiles,
                    Condition::Many => uses_tiles,
                    Condition::Prepared => uses_tiles && self.variant.prepares(),
                };
                if !runs {
                    continue;
                }
                let z = match dispatch.depth {
                    Depth::One => 1,
                    Depth::Tokens(each) => each * tokens as u32,
                    Depth::Tiles { rows, of_token } => (tokens as u32 * of_token).div_ceil(rows),
                };
                let x = dispatch.blocks.min(most);
                let y = if dispatch.splits { splits } else { dispatch.blocks.div_ceil(x.max(1)) };
                pass.set_pipeline(&self.pipelines[&dispatch.kernel].pipeline);
                pass.set_bind_group(0, bind, &[]);
                pass.dispatch_workgroups(x, y, z);
                *recorded += 1;
            }
        }
        if group == 1 && is_single {
            self.layer_dispatches = *recorded - before;
        }
        if head {
            self.finish(program, wanted);
        }
        if head || !is_single {
            self.flush();
            self.begun = false;
        }
        if head {
            self.read();
            self.token = self.device.counters().since(&self.before);
        }
        Ok(())
    }

    /// Sends off what is recorded: the buffers that it reads may be written again afterwards.
    fn flush(&mut self) {
        if let Some((encoder, dispatches)) = self.recording.take() {
            self.device.submit(encoder, dispatches);
        }
    }

    /// Gives a group's buffers to whichever comes next.
    pub fn evict(&mut self, group: usize) {
        self.flush();
        self.weights.evict(group);
    }

    /// Workgroups that share a head's positions.
    fn splits(&self, batch: &Batch) -> u32 {
        match batch.tokens.len() {
            1 => (batch.position + 1).div_ceil(SPLIT_POSITIONS).clamp(1, SPLITS_MAX) as u32,
            _ => 1,
        }
    }

    /// Opens a recording: what the batch's kernels need to know goes ahead of it.
    fn begin(&mut self, program: &Program, batch: &Batch, wanted: Wanted) {
        let draw = match wanted {
            Wanted::Token(draw) => draw,
            _ => Draw::GREEDY,
        };
        let words = [
            batch.position as u32,
            batch.tokens.len() as u32,
            batch.rows.start as u32,
            self.splits(batch),
            draw.top_k,
            (1.0 / draw.temperature).to_bits(),
            draw.top_p.to_bits(),
            draw.min_p.to_bits(),
            draw.random.to_bits(),
        ];
        let mut step = [0; STEP_BYTES];
        step.chunks_exact_mut(4).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        self.device.write(&self.step, 0, &step);

        let mut scratch = std::mem::take(&mut self.scratch);
        let mut write = |quad: u32, values: &mut dyn Iterator<Item = f32>| {
            scratch.clear();
            values.for_each(|v| scratch.extend(v.to_le_bytes()));
            self.device.write(&self.activations, u64::from(quad) * 16, &scratch);
        };
        // Numbers below 2^24 are exact in f32.
        write(self.arena.tokens, &mut batch.tokens.iter().map(|t| *t as f32));
        for (index, rope) in program.ropes.iter().enumerate() {
            let factors = rope.factors.map(|id| self.weights.kept(id));
            let rotation = &mut self.rotations[index];
            rotation.prepare(rope, factors.as_deref(), batch.position, batch.tokens.len());
            write(self.arena.tables[index], &mut rotation.pairs().iter().flat_map(|(cos, sin)| [*cos, *sin]));
        }
        self.scratch = scratch;
        (self.begun, self.before) = (true, self.device.counters());
    }

    /// The sets that a group's dispatches read: its own, and the embedding's for a tied head.
    fn sets(&self, program: &Program, group: usize) -> [usize; 2] {
        let id = |group: usize| self.weights.set(group).map_or(0, |set| set.id);
        [id(group), if group + 1 == program.groups.len() { id(0) } else { 0 }]
    }

    /// Makes the bind groups of a group for the buffers that it is in, unless they are there; their number
    /// in `bound`.
    fn bind(&mut self, program: &Program, group: usize) -> Result<usize> {
        let sets = self.sets(program, group);
        if let Some(bound) = self.bound[group].iter().position(|b| b.sets == sets) {
            return Ok(bound);
        }
        let bind = |(offset, dispatch): (usize, &Dispatch)| {
            let (from, buffer) = dispatch.weights;
            let set = self.weights.set(from).ok_or_else(|| ChordError::internal("ops run on resident groups"))?;
            let weights = set.buffers[buffer].as_entire_binding();
            let cache = match dispatch.cache {
                Cache::Layer(layer) => &self.caches[layer],
                Cache::Prepared => &self.prepared,
            };
            let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.params,
                offset: (offset * OP_BYTES) as u64,
                size: std::num::NonZeroU64::new(OP_BYTES as u64),
            });
            let resources = [
                self.step.as_entire_binding(),
                self.activations.as_entire_binding(),
                weights.clone(),
                weights,
                cache.as_entire_binding(),
                params,
            ];
            Ok(self.device.bind(&resources))
        };
        let (single, batch) = self.plan.offsets(group);
        let single = self.plan.single[group].iter().enumerate().map(|(i, d)| bind((single + i, d)));
        let single = single.collect::<Result<_>>()?;
        let batch = self.plan.batch[group].iter().enumerate().map(|(i, d)| bind((batch + i, d)));
        let batch = batch.collect::<Result<_>>()?;
        self.bound[group].push(Bound { sets, single, batch });
        Ok(self.bound[group].len() - 1)
    }

    /// Copies what is wanted to where the host can read it.
    fn finish(&mut self, program: &Program, wanted: Wanted) {
        let (slot, count) = match wanted {
            Wanted::Token(_) => (None, 0),
            Wanted::Logits => (Some(program.logits), program.vocabulary),
            Wanted::Hidden => (Some(program.hidden()), program.slots[0]),
        };
        let (encoder, _) = self.recording.as_mut().expect("recording has begun");
        encoder.copy_buffer_to_buffer(&self.activations, u64::from(self.arena.result) * 16, &self.readback, 0, 16);
        if let Some(slot) = slot {
            let from = u64::from(self.arena.slots[slot.0 as usize]) * 16;
            encoder.copy_buffer_to_buffer(&self.activations, from, &self.readback, 16, count as u64 * 4);
        }
        let has_token = matches!(wanted, Wanted::Token(_));
        self.reading = Some(Reading { bytes: 16 + count * 4, has_token, done: Arc::default() });
    }

    /// Asks for the readback.
    fn read(&mut self) {
        let Some(reading) = &self.reading else { return };
        self.device.count(|c| c.readback_bytes += reading.bytes as u64);
        let (done, wake) = (reading.done.clone(), self.wake.clone());
        self.readback.map_async(wgpu::MapMode::Read, 0..reading.bytes as u64, move |result| {
            if let Ok(mut done) = done.lock() {
                *done = Some(result.is_ok());
            }
            if let Some(wake) = wake {
                wake();
            }
        });
    }

    /// Whether a pass has been sent whose results are not taken yet.
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether the results of the last pass are there; then [`Gpu::outcome`] has them.
    pub fn poll(&mut self) -> Poll {
        self.device.poll();
        if self.device.is_lost() {
            return Poll::Lost;
        }
        let Some(reading) = &self.reading else { return Poll::Ready };
        let done = reading.done.lock().ok().and_then(|done| *done);
        match done {
            None => Poll::Pending,
            Some(false) => Poll::Lost,
            Some(true) => self.take(),
        }
    }

    fn take(&mut self) -> Poll {
        let Some(reading) = self.reading.take() else { return Poll::Ready };
        let Ok(mapped) = self.readback.get_mapped_range(0..reading.bytes as u64) else { return Poll::Lost };
        let mut values = mapped.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let mut next = || values.next().unwrap_or(0.0);
        self.outcome.token = Some(next() as u32).filter(|_| reading.has_token);
        self.outcome.damaged = Some(next()).filter(|group| *group >= 0.0).map(|group| group as usize);
        self.outcome.values.clear();
        self.outcome.values.extend(values.skip(2));
        drop(mapped);
        self.readback.unmap();
        Poll::Ready
    }

    /// Waits for the results, natively.
    pub fn wait(&mut self) -> Poll {
        self.device.wait();
        self.poll()
    }

    /// What came of the last pass.
    pub fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Drops what is under way; its results are not wanted any more.
    pub fn cancel(&mut self) {
        (self.recording, self.begun) = (None, false);
        if self.reading.take().is_some() {
            // Unmapping ends a mapping that is still pending.
            self.readback.unmap();
        }
    }

    /// `EngineStats.gpu`.
    pub fn stats(&self) -> serde_json::Value {
        let counters = self.device.counters();
        serde_json::json!({
            "adapter": self.device.adapter(),
            "software": self.device.is_software(),
            "subgroups": self.variant.subgroups,
            "arithmetic": self.variant.tiles.map(Arithmetic::name),
            "bufferBytesMax": self.device.buffer_bytes_max(),
            "dispatchesPerToken": self.token.dispatches,
            "submitsPerToken": self.token.submits,
            "readbackBytesPerToken": self.token.readback_bytes,
            "dispatchesPerLayer": self.layer_dispatches,
            "submits": counters.submits,
            "dispatches": counters.dispatches,
            "readbackBytes": counters.readback_bytes,
            "uploadedBytes": counters.uploaded_bytes,
            "buffers": counters.buffers,
            "bindGroups": counters.bind_groups,
            "disabledKernels": self.disabled,
        })
    }
}

/// The pipelines of a plan's kernels, as far as the variant has them.
fn pipelines(device: &Device, plan: &Plan, variant: Variant) -> HashMap<Kernel, Rc<Pipeline>> {
    let kernels = plan.kernels().into_iter().filter(|kernel| kernel.is_in(variant));
    kernels.map(|kernel| (kernel, device.pipeline(kernel, variant))).collect()
}
