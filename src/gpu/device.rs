//! The device: how it is asked for, what it can do, whether it is still there, and what was made with it.

use super::counters::Counters;
use super::health::Health;
use super::options::{DeviceOptions, Tamper};
use super::shaders::{Arithmetic, BINDINGS, Kernel, Variant};
use super::{Vendor, Wake};
use crate::error::{ChordError, ErrorCode, Result};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A buffer, whose memory goes back to the device at once when it is dropped.
pub struct Buffer {
    buffer: wgpu::Buffer,
    bytes: u64,
    /// Bytes of all buffers of the device.
    held: Rc<Cell<u64>>,
}

impl std::ops::Deref for Buffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Dropped alone, a browser's buffer waits for the garbage collector.
        self.buffer.destroy();
        self.held.set(self.held.get() - self.bytes);
    }
}

/// An open device.
pub struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    info: wgpu::AdapterInfo,
    variant: Variant,
    has_half: bool,
    products_max: usize,
    memory_bytes_max: Option<u64>,
    tamper: Option<Tamper>,
    health: Arc<Health>,
    counters: Cell<Counters>,
    /// Bytes of all buffers.
    held: Rc<Cell<u64>>,
    group_layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    /// Pipelines by kernel and what of the variant matters to it.
    pipelines: RefCell<HashMap<(Kernel, Variant), Rc<Pipeline>>>,
    /// Shared with whatever is still to come of the device.
    wake: Rc<RefCell<Option<Wake>>>,
}

/// A kernel on the device.
pub struct Pipeline {
    /// What dispatches name; it may still be in the making, or refused.
    pub pipeline: wgpu::ComputePipeline,
    /// 0 until the device has said whether it takes it, then 1, or 2 if it does not.
    state: Arc<AtomicU8>,
}

impl Pipeline {
    /// Whether the device took it; `None` until it has said so.
    pub fn accepted(&self) -> Option<bool> {
        match self.state.load(Ordering::Acquire) {
            0 => None,
            state => Some(state == 1),
        }
    }
}

impl Device {
    /// Opens the fastest adapter's device; `None` where there is none to be had.
    pub async fn open(options: &DeviceOptions) -> Option<Device> {
        let instance = wgpu::Instance::default();
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = instance.request_adapter(&wanted).await.ok()?;
        let info = adapter.get_info();
        if info.device_type == wgpu::DeviceType::Cpu && !options.software {
            return None;
        }
        let offered = adapter.features();
        // wgpu does not know them in browsers, where they are asked for behind its back.
        let is_native = cfg!(not(target_family = "wasm"));
        let subgroups = options.subgroups && (!is_native || offered.contains(wgpu::Features::SUBGROUP));
        let has_half = options.half && offered.contains(wgpu::Features::SHADER_F16);
        let vendor = options.vendor.unwrap_or(Vendor::from_number(info.vendor));
        let preferred = if info.device_type == wgpu::DeviceType::Cpu { Arithmetic::Single } else { vendor.preferred() };
        // Asked only where it matters: older browsers do not know the question.
        let packed = wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct;
        let has_integer = || instance.wgsl_language_features().contains(packed);
        let arithmetic = match options.arithmetic.unwrap_or(preferred) {
            Arithmetic::Integer if has_integer() => Arithmetic::Integer,
            Arithmetic::Half if has_half => Arithmetic::Half,
            _ => Arithmetic::Single,
        };
        let variant = Variant { subgroups, tiles: Some(arithmetic) };
        let mut required_features = wgpu::Features::empty();
        required_features.set(wgpu::Features::SUBGROUP, subgroups && is_native);
        required_features.set(wgpu::Features::SHADER_F16, has_half);
        let mut limits = adapter.limits();
        if let Some(most) = options.buffer_bytes_max {
            limits.max_buffer_size = limits.max_buffer_size.min(most);
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wasm-chord"),
            required_features,
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.ok()?;
        let health = Arc::new(Health::default());
        let lost = health.clone();
        device.set_device_lost_callback(move |_, _| lost.lose());
        let errors = health.clone();
        device.on_uncaptured_error(Arc::new(move |_| errors.err()));
        let (group_layout, pipeline_layout) = layouts(&device);
        Some(Device {
            device,
            queue,
            limits,
            info,
            variant,
            has_half,
            products_max: options.products_max,
            memory_bytes_max: options.memory_bytes_max,
            tamper: options.tamper,
            health,
            counters: Cell::default(),
            held: Rc::default(),
            group_layout,
            pipeline_layout,
            pipelines: RefCell::default(),
            wake: Rc::default(),
        })
    }

    /// Whether the device is gone, or has refused something that it was told to do. Buffers that it has no
    /// memory for are no such thing, nor what comes of using them: see [`Device::take_refusal`].
    pub fn is_lost(&self) -> bool {
        self.health.is_lost()
    }

    /// Bytes of buffers beside which the device had no room for another, if that happened since this was asked
    /// last. The buffer is unusable, and what comes of using it is no error until [`Device::trust`].
    pub fn take_refusal(&self) -> Option<u64> {
        self.health.take_refusal()
    }

    /// Whether it is known of every buffer that there was room for it.
    pub fn is_sure(&self) -> bool {
        self.health.is_sure()
    }

    /// The device has been seen to compute. Browsers tell of errors later than of what was refused, and before
    /// what is computed after it.
    pub fn trust(&self) {
        self.health.trust();
    }

    /// Closes scopes, the innermost first: `told` hears which had an error, natively at once, and whoever waits
    /// for the device looks again.
    fn tell<const N: usize>(&self, scopes: [wgpu::ErrorScopeGuard; N], told: impl FnOnce([bool; N]) + 'static) {
        let (errors, wake) = (scopes.map(|scope| scope.pop()), self.wake.clone());
        settle(async move {
            let mut are_wrong = [false; N];
            for (is_wrong, error) in are_wrong.iter_mut().zip(errors) {
                *is_wrong = error.await.is_some();
            }
            told(are_wrong);
            let wake = wake.borrow().clone();
            if let Some(wake) = wake {
                wake();
            }
        });
    }

    /// Gives the device up, as if it had been lost.
    pub fn destroy(&self) {
        self.health.lose();
        self.device.destroy();
    }

    /// Waits for a submission, or for all of them, natively; in a browser callbacks come by themselves.
    pub fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) {
        if self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).is_err() {
            self.health.lose();
        }
    }

    /// Lets callbacks run that are due.
    pub fn poll(&self) {
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// The adapter, as people know it; browsers may keep its name to themselves.
    pub fn adapter(&self) -> String {
        let wgpu::AdapterInfo { name, driver, backend, .. } = &self.info;
        match [name, driver].into_iter().find(|name| !name.is_empty()) {
            Some(name) => format!("{name} ({backend})"),
            None => backend.to_string(),
        }
    }

    /// Whether the adapter computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// The variant of the kernels that is likely the fastest here.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The variant to go on with where one arithmetic fails.
    pub fn arithmetic_after(&self, failed: Arithmetic) -> Option<Arithmetic> {
        match failed {
            Arithmetic::Integer if self.has_half => Some(Arithmetic::Half),
            Arithmetic::Integer | Arithmetic::Half => Some(Arithmetic::Single),
            Arithmetic::Single => None,
        }
    }

    /// Products of one dispatch at most.
    pub fn products_max(&self) -> usize {
        self.products_max
    }

    /// Bytes of the largest buffer that a kernel can be bound to.
    pub fn buffer_bytes_max(&self) -> usize {
        let most = self.limits.max_buffer_size.min(self.limits.max_storage_buffer_binding_size);
        // Places in a buffer are counted in words of 32 bits.
        usize::try_from(most.min(4 * u64::from(u32::MAX))).unwrap_or(usize::MAX) / 256 * 256
    }

    /// Workgroups along one side of a dispatch.
    pub fn workgroups_max(&self) -> u32 {
        self.limits.max_compute_workgroups_per_dimension
    }

    /// The counters so far.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Counts something.
    pub fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        add(&mut counters);
        self.counters.set(counters);
    }

    /// Bytes of all buffers.
    pub fn held_bytes(&self) -> u64 {
        self.held.get()
    }

    /// A buffer of zeros. Whether the device has room for it is known later: see [`Device::take_refusal`].
    pub fn buffer(&self, label: &str, bytes: usize, usage: wgpu::BufferUsages) -> Buffer {
        self.count(|c| c.buffers += 1);
        let bytes = bytes.next_multiple_of(256) as u64;
        let before = self.held.get();
        self.held.set(before + bytes);
        // What tests refuse is larger than any buffer may be, so that it is as unusable.
        let (size, filter) = match self.memory_bytes_max {
            Some(most) if before + bytes > most => (u64::MAX / 4, wgpu::ErrorFilter::Validation),
            _ => (bytes, wgpu::ErrorFilter::OutOfMemory),
        };
        // Any other error is caught here too: otherwise the self-test could meet the buffer before it is told of.
        let other = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let scope = self.device.push_error_scope(filter);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        let made = self.health.make(before);
        let health = self.health.clone();
        self.tell([scope, other], move |[is_refused, is_wrong]| {
            if is_wrong {
                health.err();
            }
            health.made(made, is_refused);
        });
        Buffer { buffer, bytes, held: self.held.clone() }
    }

    /// Writes words into a buffer, before whatever is submitted next.
    pub fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) {
        self.count(|c| c.uploaded_bytes += data.len() as u64);
        self.queue.write_buffer(buffer, offset, data);
    }

    /// Sets what is called when the device has something to tell.
    pub fn set_wake(&self, wake: Option<Wake>) {
        *self.wake.borrow_mut() = wake;
    }

    /// The pipeline of a kernel, made at its first use.
    pub fn pipeline(&self, kernel: Kernel, variant: Variant) -> Rc<Pipeline> {
        let key = (kernel, kernel.variant(variant));
        let known = self.pipelines.borrow().get(&key).cloned();
        known.unwrap_or_else(|| {
            let pipeline = Rc::new(self.compile(kernel, key.1));
            self.pipelines.borrow_mut().insert(key, pipeline.clone());
            pipeline
        })
    }

    fn compile(&self, kernel: Kernel, variant: Variant) -> Pipeline {
        self.count(|c| c.pipelines += 1);
        let mut source = kernel.source(variant);
        if let Some(tamper) = self.tamper {
            source = tamper(kernel, variant, source);
        }
        let name = kernel.name();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&name),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&self.pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        let state = Arc::new(AtomicU8::new(0));
        let told = state.clone();
        self.tell([scope], move |[is_refused]| told.store(if is_refused { 2 } else { 1 }, Ordering::Release));
        Pipeline { pipeline, state }
    }

    /// Buffers bound in the order of the layout.
    pub fn bind(&self, resources: &[wgpu::BindingResource]) -> wgpu::BindGroup {
        self.count(|c| c.bind_groups += 1);
        let resources = resources.iter().enumerate();
        let entries: Vec<_> = resources
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource: resource.clone() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.group_layout,
            entries: &entries,
        })
    }

    /// Bytes that a copy between two buffers of this size reads and writes in a second.
    #[cfg(not(target_family = "wasm"))]
    pub fn copy_bandwidth(&self, bytes: usize) -> f64 {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let (from, to) = (self.buffer("from", bytes, usage), self.buffer("to", bytes, usage));
        let times = 10;
        let mut seconds = f64::INFINITY;
        for _ in 0..4 {
            let start = std::time::Instant::now();
            let mut encoder = self.encoder();
            (0..times).for_each(|_| encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes as u64));
            let submission = self.submit(encoder, 0);
            self.wait(Some(submission));
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        (2 * bytes * times) as f64 / seconds
    }

    /// A recorder of commands.
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Sends recorded commands off.
    pub fn submit(&self, encoder: wgpu::CommandEncoder, dispatches: u64) -> wgpu::SubmissionIndex {
        self.count(|c| {
            c.submits += 1;
            c.dispatches += dispatches;
        });
        self.queue.submit([encoder.finish()])
    }
}

/// The layout that all kernels share.
fn layouts(device: &wgpu::Device) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |(binding, ty): (usize, &wgpu::BindingType)| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: *ty,
        count: None,
    };
    let entries: Vec<_> = BINDINGS.iter().enumerate().map(entry).collect();
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    (group, pipeline)
}

/// Lets a future run to its end: natively what an error scope gives is there at once.
#[cfg(not(target_family = "wasm"))]
fn settle(future: impl Future<Output = ()>) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::pin!(future).poll(&mut context);
}

#[cfg(target_family = "wasm")]
fn settle(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

/// The error of a device that cannot run a model; the CPU can.
pub fn unsuited(reason: impl Into<String>) -> ChordError {
    ChordError::new(ErrorCode::GpuUnsuited, reason)
}

/// Refuses what a device cannot hold.
pub fn check_size(device: &Device, what: &str, bytes: usize) -> Result<()> {
    let most = device.buffer_bytes_max();
    match bytes <= most {
        true => Ok(()),
        false => Err(unsuited(format!("{what} takes {bytes} bytes, and a buffer of this device at most {most}"))),
    }
}
