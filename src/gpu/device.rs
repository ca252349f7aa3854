//! The device: how it is asked for, what it can do, whether it is still there, and what was made with it.

use crate::error::{ChordError, ErrorCode, Result};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// What the device tells from outside: it runs on other threads natively.
#[derive(Default)]
struct Health {
    is_lost: AtomicBool,
    errors: AtomicU64,
}

/// An open device.
pub struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    info: wgpu::AdapterInfo,
    has_subgroups: bool,
    health: Arc<Health>,
    counters: Cell<Counters>,
}

/// What to ask a device for. Tests ask for less than there is.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Whether an adapter that computes on the CPU will do.
    pub software: bool,
    /// Whether kernels may use subgroups.
    pub subgroups: bool,
    /// A ceiling for the size of a buffer and of a binding, in bytes.
    pub buffer_bytes_max: Option<u64>,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        DeviceOptions { software: false, subgroups: true, buffer_bytes_max: None }
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
        let has_subgroups = options.subgroups && adapter.features().contains(wgpu::Features::SUBGROUP);
        let mut limits = adapter.limits();
        if let Some(most) = options.buffer_bytes_max {
            limits.max_buffer_size = limits.max_buffer_size.min(most);
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wasm-chord"),
            required_features: if has_subgroups { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() },
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.ok()?;
        let health = Arc::new(Health::default());
        let lost = health.clone();
        device.set_device_lost_callback(move |_, _| lost.is_lost.store(true, Ordering::Release));
        let errors = health.clone();
        device.on_uncaptured_error(Arc::new(move |_| {
            errors.errors.fetch_add(1, Ordering::AcqRel);
        }));
        Some(Device { device, queue, limits, info, has_subgroups, health, counters: Cell::default() })
    }

    /// Whether the device is gone, or has refused something that it was told to do.
    pub fn is_lost(&self) -> bool {
        self.health.is_lost.load(Ordering::Acquire) || self.health.errors.load(Ordering::Acquire) > 0
    }

    /// Gives the device up, as if it had been lost.
    pub fn destroy(&self) {
        self.health.is_lost.store(true, Ordering::Release);
        self.device.destroy();
    }

    /// Waits for everything that was submitted, natively; in a browser callbacks come by themselves.
    pub fn wait(&self) {
        if self.device.poll(wgpu::PollType::wait_indefinitely()).is_err() {
            self.health.is_lost.store(true, Ordering::Release);
        }
    }

    /// Lets callbacks run that are due.
    pub fn poll(&self) {
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// The adapter, as people know it.
    pub fn adapter(&self) -> String {
        let info = &self.info;
        let name = if info.name.is_empty() { info.driver.as_str() } else { info.name.as_str() };
        format!("{name} ({})", info.backend)
    }

    /// Whether the adapter computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Whether kernels may use subgroups.
    pub fn has_subgroups(&self) -> bool {
        self.has_subgroups
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

    /// A buffer of zeros.
    pub fn buffer(&self, label: &str, bytes: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.count(|c| c.buffers += 1);
        let size = bytes.next_multiple_of(256) as u64;
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Writes words into a buffer, before whatever is submitted next.
    pub fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) {
        self.count(|c| c.uploaded_bytes += data.len() as u64);
        self.queue.write_buffer(buffer, offset, data);
    }

    /// A pipeline of one kernel.
    pub fn pipeline(&self, label: &str, source: String, layout: &wgpu::PipelineLayout) -> wgpu::ComputePipeline {
        self.count(|c| c.pipelines += 1);
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(label), source });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        })
    }

    /// The layout that all kernels share.
    pub fn layout(&self, bindings: &[wgpu::BindingType]) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let entry = |(binding, ty): (usize, &wgpu::BindingType)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: *ty,
            count: None,
        };
        let entries: Vec<_> = bindings.iter().enumerate().map(entry).collect();
        let group =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        (group, pipeline)
    }

    /// Buffers bound in the order of the layout.
    pub fn bind(&self, layout: &wgpu::BindGroupLayout, resources: &[wgpu::BindingResource]) -> wgpu::BindGroup {
        self.count(|c| c.bind_groups += 1);
        let resources = resources.iter().enumerate();
        let entries: Vec<_> = resources
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource: resource.clone() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// A recorder of commands.
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Sends recorded commands off.
    pub fn submit(&self, encoder: wgpu::CommandEncoder, dispatches: u64) {
        self.count(|c| {
            c.submits += 1;
            c.dispatches += dispatches;
        });
        self.queue.submit([encoder.finish()]);
    }
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
