//! Where an engine computes, and what it does about the device: its self-test, its loss, and who takes its place.

use super::Engine;
use super::backend::Backend;
use super::open::{self, Opening};
#[cfg(feature = "gpu")]
use crate::error::ErrorCode;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::exec::DeviceStats;
use crate::exec::Poll;
use crate::program::Program;
#[cfg(feature = "gpu")]
use std::rc::Rc;

/// The backend, and what is known of its device.
pub struct Compute {
    pub backend: Backend,
    #[cfg(feature = "gpu")]
    device: DeviceState,
}

impl Compute {
    /// Nothing is known of a device but that it is to be tested, if there is one.
    pub fn new(backend: Backend, program: &Program) -> Compute {
        #[cfg(not(feature = "gpu"))]
        let _ = program;
        Compute {
            #[cfg(feature = "gpu")]
            device: DeviceState::new(&backend, program),
            backend,
        }
    }
}

/// What is known of a GPU beside the backend itself.
#[cfg(feature = "gpu")]
struct DeviceState {
    wake: Option<crate::gpu::Wake>,
    /// The self-test, until it has ended.
    test: Option<Box<crate::trust::SelfTest>>,
    /// The kernels that a device failed with before the CPU took the model over.
    disabled: Vec<String>,
    /// What a device's memory has turned out to have room for, in bytes.
    bytes_max: u64,
    /// How often it had less than was planned for.
    refusals: usize,
}

/// Refusals of a buffer after which the CPU goes on.
#[cfg(feature = "gpu")]
const REFUSALS_MAX: usize = 3;

#[cfg(feature = "gpu")]
impl DeviceState {
    fn new(backend: &Backend, program: &Program) -> DeviceState {
        let mut state = DeviceState { wake: None, test: None, disabled: Vec::new(), bytes_max: u64::MAX, refusals: 0 };
        state.begin_test(backend, program);
        state
    }

    /// Begins the self-test of a backend's device.
    fn begin_test(&mut self, backend: &Backend, program: &Program) {
        let test = |device: &Rc<crate::gpu::Device>| Box::new(crate::trust::SelfTest::new(device.clone(), program));
        self.test = backend.device().map(test);
    }
}

impl Engine {
    /// Goes on with another backend, after a device was lost or in place of it: the weights are wanted again,
    /// and the sequence is computed again from its tokens. Without a device that is the CPU.
    fn replace(&mut self, opening: Opening) -> Result<()> {
        let Opening { backend, plan, deliveries } = opening;
        #[cfg(feature = "gpu")]
        if let Some(left) = self.compute.backend.device() {
            let is_kept = backend.device().is_some_and(|device| Rc::ptr_eq(device, left));
            if !is_kept {
                left.destroy();
            }
        }
        self.compute.backend = backend;
        self.compute.backend.adapt(&self.scales);
        self.loading.begin_again(&self.opened.program, plan, deliveries, &mut self.compute.backend);
        self.sequence.begin_again();
        self.begin_lanes_again()?;
        let (tokens, positions) = self.sequence.pass.as_ref().map_or((0, 0), |pass| (pass.tokens().len(), pass.end()));
        self.compute.backend.reserve(tokens, positions)
    }

    /// Sees that a device has had room for its buffers, and goes on with its self-test. One that fails it is
    /// left for the CPU.
    pub(super) fn verify(&mut self) -> Result<Poll> {
        #[cfg(feature = "gpu")]
        while let Some(room) = self.compute.backend.device().and_then(|device| device.take_refusal()) {
            self.shrink(room)?;
        }
        #[cfg(feature = "gpu")]
        if let (Backend::Gpu(gpu), Some(test)) = (&mut self.compute.backend, &mut self.compute.device.test) {
            let poll = test.poll(&self.opened.program, gpu);
            match poll {
                Ok(Poll::Ready) => self.compute.device.test = None,
                Err(error) if error.code == ErrorCode::GpuUnsuited => {
                    self.compute.device.disabled = test.disabled().to_vec();
                    self.attach_cpu()?;
                }
                poll => return poll,
            }
        }
        Ok(Poll::Ready)
    }

    /// Goes on with the CPU, on one thread.
    pub fn attach_cpu(&mut self) -> Result<()> {
        #[cfg(feature = "gpu")]
        {
            self.compute.device.test = None;
        }
        // The other threads, if there were any, belong to what is replaced.
        self.loading.options.threads = None;
        let opening = open::on_cpu(&self.opened.program, self.opened.config.context, &self.loading.options)?;
        self.replace(opening)
    }

    /// Waits for the device, natively.
    pub fn wait(&mut self) {
        self.compute.backend.wait();
    }
}

#[cfg(feature = "gpu")]
impl Engine {
    /// Goes on with this device; if it does not suit the model, with the CPU.
    pub fn attach(&mut self, device: crate::gpu::Device) -> Result<()> {
        self.attach_to(Rc::new(device))
    }

    fn attach_to(&mut self, device: Rc<crate::gpu::Device>) -> Result<()> {
        let (context, bytes_max) = (self.opened.config.context, self.compute.device.bytes_max);
        match open::on_gpu(device, bytes_max, &self.opened.program, context, &self.loading.options) {
            Ok(opening) => {
                self.compute.device.begin_test(&opening.backend, &self.opened.program);
                self.replace(opening)?;
            }
            // The ceiling may be the device's own now.
            Err(error) if matches!(error.code, ErrorCode::GpuUnsuited | ErrorCode::BudgetTooSmall) => {
                return self.attach_cpu();
            }
            Err(error) => return Err(error),
        }
        self.set_wake(self.compute.device.wake.clone());
        Ok(())
    }

    /// A device had no room for a buffer beside `room` bytes of others: goes on with fewer layers there, or with
    /// the CPU, where those that do not fit would have to be fetched from a network again and again.
    fn shrink(&mut self, room: u64) -> Result<()> {
        let Backend::Gpu(gpu) = &mut self.compute.backend else { return Ok(()) };
        self.compute.device.refusals += 1;
        if !self.loading.options.from_disk || self.compute.device.refusals > REFUSALS_MAX {
            return self.attach_cpu();
        }
        let device = gpu.device().clone();
        // The self-test's buffers go, and come again beside the model.
        let held = device.held_bytes();
        self.compute.device.test = None;
        let room = room.saturating_sub(held - device.held_bytes());
        // Others take of the same memory, the screen among them.
        self.compute.device.bytes_max = room - room / 16;
        gpu.give_back();
        self.attach_to(device)
    }

    /// Sets what a GPU's results call when they come.
    pub fn set_wake(&mut self, wake: Option<crate::gpu::Wake>) {
        if let Backend::Gpu(gpu) = &mut self.compute.backend {
            gpu.set_wake(wake.clone());
        }
        if let Some(test) = &mut self.compute.device.test {
            test.set_wake(wake.clone());
        }
        self.compute.device.wake = wake;
    }

    /// The GPU, if there is one in use.
    pub fn gpu(&self) -> Option<&crate::gpu::Gpu> {
        match &self.compute.backend {
            Backend::Gpu(gpu) => Some(gpu),
            Backend::Cpu(_) => None,
        }
    }

    /// The GPU in use, or one that was given up because its kernels were wrong.
    pub(super) fn device_stats(&self) -> Option<DeviceStats> {
        let disabled = &self.compute.device.disabled;
        let given_up = || DeviceStats { disabled_kernels: disabled.clone(), ..DeviceStats::default() };
        self.gpu().map(crate::gpu::Gpu::stats).or_else(|| (!disabled.is_empty()).then(given_up))
    }
}
