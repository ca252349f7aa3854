//! The self-test of a device: before the first token every kernel that a model uses computes a small model of
//! the same ops and formats, and each dispatch's results are compared with what the CPU makes of the same
//! inputs. A kernel that the device refuses or gets wrong is not used: without subgroups, tiles, splits or
//! fusion, with tokens chosen by the host, or, where nothing is left, by leaving the model to the CPU.

mod judge;
mod miniature;

use crate::error::Result;
use crate::exec::{Draw, Poll};
use crate::gpu::shaders::{Arithmetic, Kernel, Variant};
use crate::gpu::{Device, Gpu, Pass, Room, Trace, Wake, Ways, unsuited};
use crate::program::*;
use miniature::VOCABULARY;
use std::rc::Rc;

pub use judge::Judge;
pub use miniature::Miniature;

/// The first position that is used: the cache before it is zero, and attention goes through more than one of
/// its tiles.
const POSITION: usize = 60;

/// Tokens of a pass that is computed in tiles.
const BATCH: usize = 6;

/// What the small model needs.
const ROOM: Room = Room { context: 80, batch: BATCH, rows_max: BATCH };

/// Sums in f32 differ by far less, a wrong kernel by far more. Keys and values are rounded to f16 here and
/// there, and may differ in the last bit.
const NMSE_MAX: f64 = 1e-6;
/// The same for tiles in f16, and in 8-bit integers, where it is llama.cpp's own error.
const NMSE_MAX_HALF: f64 = 1e-5;
const NMSE_MAX_INTEGER: f64 = 5e-4;

/// The same for what goes to the cache in 8 bits, where a value between two integers may become either.
const NMSE_MAX_KEPT: f64 = 1e-5;

/// Tries of a device, each without what failed before.
const TRIES_MAX: usize = 8;

/// The self-test of one model on one device.
pub struct SelfTest {
    device: Rc<Device>,
    miniature: Miniature,
    ways: Ways,
    trial: Option<Box<Trial>>,
    disabled: Vec<String>,
    tries: usize,
    wake: Option<Wake>,
}

/// The small model on the device, and its passes under way.
struct Trial {
    gpu: Gpu,
    trace: Trace,
}

impl SelfTest {
    /// Will test what `program` needs on this device.
    pub fn new(device: Rc<Device>, program: &Program) -> SelfTest {
        SelfTest {
            ways: Ways::of(&device),
            device,
            miniature: Miniature::new(program),
            trial: None,
            disabled: Vec::new(),
            tries: 0,
            wake: None,
        }
    }

    /// Sets what is called when there is something to go on with.
    pub fn set_wake(&mut self, wake: Option<Wake>) {
        self.wake = wake;
    }

    /// The kernels that are not used, and why.
    pub fn disabled(&self) -> &[String] {
        &self.disabled
    }

    /// Goes on as far as results are there. At the end, which is `Ready`, `gpu` uses what was found right. An
    /// error of code `GpuUnsuited` means that the CPU has to run the model.
    pub fn poll(&mut self, program: &Program, gpu: &mut Gpu) -> Result<Poll> {
        loop {
            if self.device.is_lost() {
                return Ok(Poll::Lost);
            }
            let Some(trial) = &mut self.trial else {
                // A kernel that the device refused must not be dispatched.
                let kernels: Vec<Kernel> = gpu.kernels().collect();
                match kernels.iter().find(|kernel| gpu.accepted(**kernel) != Some(true)) {
                    Some(kernel) if gpu.accepted(*kernel).is_none() => return Ok(Poll::Pending),
                    Some(kernel) => self.reject(*kernel, "refused", program, gpu)?,
                    None => self.trial = Some(Box::new(self.start()?)),
                }
                continue;
            };
            // What is computed in a buffer that could not be had says nothing of kernels.
            if !self.device.is_sure() {
                return Ok(Poll::Pending);
            }
            match trial.gpu.poll_trace(&mut trial.trace) {
                Poll::Ready => {}
                poll => return Ok(poll),
            }
            let kernels = self.ways.kernels;
            let mut judge = Judge::new(&self.miniature, kernels, ROOM)?;
            let mut errors = judge.errors(&trial.trace);
            let wrong = errors.find(|(step, error)| *error > error_max(step.kernel, kernels));
            let wrong = wrong.map(|(step, _)| step.kernel);
            drop(errors);
            self.trial = None;
            match wrong {
                None => {
                    self.device.trust();
                    return Ok(Poll::Ready);
                }
                Some(kernel) => self.reject(kernel, "wrong", program, gpu)?,
            }
        }
    }

    /// Sends the small model's passes off.
    fn start(&self) -> Result<Trial> {
        let mut gpu = self.miniature.on(self.device.clone(), ROOM, self.ways)?;
        gpu.set_wake(self.wake.clone());
        let trace = gpu.trace(&self.miniature.program, passes(self.ways.splits))?;
        Ok(Trial { gpu, trace })
    }

    /// Goes on without the way of computing that a kernel failed in.
    fn reject(&mut self, kernel: Kernel, why: &str, program: &Program, gpu: &mut Gpu) -> Result<()> {
        let used = kernel.variant(self.ways.kernels);
        let mut way = "";
        let is_left = match kernel {
            // Without another arithmetic there are no tiles.
            Kernel::MatMat(_) | Kernel::Prepare => {
                let next = used.tiles.and_then(|failed| self.device.arithmetic_after(failed));
                std::mem::replace(&mut self.ways.kernels.tiles, next).is_some()
            }
            Kernel::AttentionTiles(_) => self.ways.kernels.tiles.take().is_some(),
            Kernel::AttentionReduce => std::mem::take(&mut self.ways.splits),
            Kernel::Top | Kernel::Sample => std::mem::take(&mut self.ways.samples),
            _ if used.subgroups => std::mem::take(&mut self.ways.kernels.subgroups),
            Kernel::MatVec(_) | Kernel::Rope(_) | Kernel::Norm if self.ways.fuses && why == "wrong" => {
                way = " fused";
                std::mem::take(&mut self.ways.fuses)
            }
            _ => false,
        };
        self.disabled.push(format!("{}{way}: {why}", kernel.name_in(used)));
        self.tries += 1;
        if !is_left || self.tries == TRIES_MAX {
            return Err(unsuited(format!("kernel {} does not work on this device", kernel.name())));
        }
        gpu.adopt(program, self.ways, &self.disabled)
    }
}

/// The error that a kernel may have.
fn error_max(kernel: Kernel, variant: Variant) -> f64 {
    match kernel.variant(variant).tiles {
        _ if kernel == Kernel::Rope(KvFormat::Q8_0) => NMSE_MAX_KEPT,
        Some(Arithmetic::Half) => NMSE_MAX_HALF,
        Some(Arithmetic::Integer) => NMSE_MAX_INTEGER,
        _ => NMSE_MAX,
    }
}

/// A few tokens, as many as are computed in tiles, and two single ones, the second with split attention. One
/// token is the likeliest, the other drawn.
fn passes(splits: bool) -> Vec<Pass> {
    let mut position = POSITION;
    let mut pass = |tokens: usize, splits, draw| {
        let first = position;
        position += tokens;
        // Tokens of all the table.
        let tokens = (first..position).map(|at| (at * 11 % VOCABULARY) as u32).collect();
        Pass { tokens, position: first, splits, draw }
    };
    let drawn = Draw { top_k: 12, temperature: 1.5, top_p: 0.95, min_p: 0.01, random: 0.6 };
    vec![
        pass(3, 1, Draw::GREEDY),
        pass(BATCH, 1, Draw::GREEDY),
        pass(1, 1, Draw::GREEDY),
        pass(1, if splits { 2 } else { 1 }, drawn),
    ]
}
