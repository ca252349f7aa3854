//! What a session does about the device that it computes on: its self-test, its loss, and who takes its place.

use super::backend::Backend;
use super::forward::Forward;
use super::{MemoryPlan, Session, open};
#[cfg(feature = "gpu")]
use crate::error::ErrorCode;
use crate::error::Result;
use crate::op::Poll;

/// What is known of a GPU beside the backend itself.
#[cfg(feature = "gpu")]
#[derive(Default)]
pub struct DeviceState {
    wake: Option<crate::gpu::Wake>,
    /// The self-test, until it has ended.
    test: Option<Box<crate::trust::SelfTest>>,
    /// The kernels that a device failed with before the CPU took the model over.
    disabled: Vec<String>,
}

#[cfg(feature = "gpu")]
impl DeviceState {
    /// Nothing is known of a device but that it is to be tested, if there is one.
    pub fn of(backend: &Backend, program: &crate::op::Program) -> DeviceState {
        let test = match backend {
            Backend::Gpu(gpu) => Some(Box::new(crate::trust::SelfTest::new(gpu.device().clone(), program))),
            Backend::Cpu(_) => None,
        };
        DeviceState { test, ..DeviceState::default() }
    }
}

impl Session {
    /// Goes on with another backend, after a device was lost or in place of it: the weights are wanted again,
    /// and the sequence is computed again from its tokens. Without a device that is the CPU.
    fn replace(&mut self, backend: Backend, plan: MemoryPlan) -> Result<()> {
        self.pager = open::pager(&self.program, &plan, self.ahead.is_some());
        (self.backend, self.plan, self.is_sent_ahead) = (backend, plan, false);
        if let Some(disk) = self.disk.clone() {
            self.backend.set_disk(disk);
        }
        self.forward = self.forward.take().map(|forward| forward.replay(&self.cached));
        self.cached.clear();
        let tokens = self.forward.as_ref().map_or(0, Forward::tokens);
        self.backend.reserve(&self.program, tokens)
    }

    /// Goes on with the self-test of a device. One that fails it is left for the CPU.
    pub(super) fn verify(&mut self) -> Result<Poll> {
        #[cfg(feature = "gpu")]
        if let (Backend::Gpu(gpu), Some(test)) = (&mut self.backend, &mut self.device.test) {
            let poll = test.poll(&self.program, gpu);
            match poll {
                Ok(Poll::Ready) => self.device.test = None,
                Err(error) if error.code == ErrorCode::GpuUnsuited => {
                    self.device.disabled = test.disabled().to_vec();
                    self.attach_cpu()?;
                }
                poll => return poll,
            }
        }
        Ok(Poll::Ready)
    }

    /// Goes on with the CPU.
    pub fn attach_cpu(&mut self) -> Result<()> {
        #[cfg(feature = "gpu")]
        {
            self.device.test = None;
        }
        let (backend, plan) = open::on_cpu(&self.program, self.config.context, &self.options)?;
        self.replace(backend, plan)
    }

    /// Waits for the device, natively.
    pub fn wait(&mut self) {
        self.backend.wait();
    }
}

#[cfg(feature = "gpu")]
impl Session {
    /// Goes on with this device; if it does not suit the model, with the CPU.
    pub fn attach(&mut self, device: crate::gpu::Device) -> Result<()> {
        let wake = self.device.wake.clone();
        match open::on_gpu(device, &self.program, self.config.context, &self.options) {
            Ok((backend, plan)) => {
                self.device = DeviceState::of(&backend, &self.program);
                self.replace(backend, plan)?;
            }
            Err(error) if open::is_left_to_cpu(&error, &self.options) => return self.attach_cpu(),
            Err(error) => return Err(error),
        }
        self.set_wake(wake);
        Ok(())
    }

    /// Sets what a GPU's results call when they come.
    pub fn set_wake(&mut self, wake: Option<crate::gpu::Wake>) {
        if let Backend::Gpu(gpu) = &mut self.backend {
            gpu.set_wake(wake.clone());
        }
        if let Some(test) = &mut self.device.test {
            test.set_wake(wake.clone());
        }
        self.device.wake = wake;
    }

    /// The GPU, if there is one in use.
    pub fn gpu(&self) -> Option<&crate::gpu::Gpu> {
        match &self.backend {
            Backend::Gpu(gpu) => Some(gpu),
            Backend::Cpu(_) => None,
        }
    }

    /// `EngineStats.gpu`: of the GPU in use, or of one that was given up because its kernels were wrong.
    pub(super) fn device_stats(&self) -> Option<serde_json::Value> {
        let given_up = || {
            let nothing = serde_json::json!({
                "dispatchesPerToken": 0,
                "submitsPerToken": 0,
                "readbackBytesPerToken": 0,
                "disabledKernels": self.device.disabled,
            });
            (!self.device.disabled.is_empty()).then_some(nothing)
        };
        self.gpu().map(crate::gpu::Gpu::stats).or_else(given_up)
    }
}
