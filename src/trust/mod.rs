//! The self-test of a device: before the first token every kernel that a model uses computes a small model of
//! the same ops and formats, and each dispatch's results are compared with what the CPU makes of the same
//! inputs. A kernel that the device refuses or gets wrong is not used: without subgroups, tiles, splits or
//! fusion, with tokens chosen by the host, or, where nothing is left, by leaving the model to the CPU.

mod miniature;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::shaders::{Arithmetic, Kernel, Variant};
use crate::gpu::{Device, Gpu, Output, Pass, Place, Room, Trace, Wake, Ways, unsuited};
use crate::op::*;
use crate::pager::Placement;
use crate::sample::{Sampler, SamplingParams};
use miniature::{Miniature, VOCABULARY};
use std::rc::Rc;

/// Positions that there is room for, and the first that is used: the cache before it is zero, and attention
/// goes through more than one of its tiles.
const CONTEXT: usize = 80;
const POSITION: usize = 60;

/// Tokens of a pass that is computed in tiles.
const BATCH: usize = 6;

/// Sums in f32 differ by far less, a wrong kernel by far more. Keys and values are rounded to f16 here and
/// there, and may differ in the last bit.
const NMSE_MAX: f64 = 1e-6;
/// The same for tiles in f16, and in 8-bit integers, where it is llama.cpp's own error.
const NMSE_MAX_HALF: f64 = 1e-5;
const NMSE_MAX_INTEGER: f64 = 5e-4;

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
            match trial.gpu.poll_trace(&mut trial.trace) {
                Poll::Ready => {}
                poll => return Ok(poll),
            }
            let wrong = Judge::new(&self.miniature, self.ways.kernels)?.first_wrong(&trial.trace);
            self.trial = None;
            match wrong {
                None => return Ok(Poll::Ready),
                Some(kernel) => self.reject(kernel, "wrong", program, gpu)?,
            }
        }
    }

    /// Sends the small model's passes off.
    fn start(&self) -> Result<Trial> {
        let Miniature { program, data, .. } = &self.miniature;
        let room = Room { context: CONTEXT, batch: BATCH, rows_max: BATCH };
        let mut gpu = Gpu::with_room(self.device.clone(), program, room, self.ways)?;
        gpu.set_wake(self.wake.clone());
        for (number, (weight, bytes)) in program.weights.iter().zip(data).enumerate() {
            gpu.allocate(program, weight.group)?;
            let id = WeightId(number as u32);
            gpu.fill(program, id, 0..bytes.len(), |range, to| to.copy_from_slice(&bytes[range]));
        }
        let trace = gpu.trace(program, &passes(self.ways.splits))?;
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
            Kernel::AttentionTiles => self.ways.kernels.tiles.take().is_some(),
            Kernel::AttentionReduce => std::mem::take(&mut self.ways.splits),
            Kernel::Top | Kernel::Sample => std::mem::take(&mut self.ways.samples),
            _ if used.subgroups => std::mem::take(&mut self.ways.kernels.subgroups),
            Kernel::MatVec(_) | Kernel::Rope | Kernel::Norm if self.ways.fuses && why == "wrong" => {
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

/// A few tokens, as many as are computed in tiles, and two single ones, the second with split attention. One
/// token is the likeliest, the other drawn.
fn passes(splits: bool) -> [Pass; 4] {
    let mut position = POSITION;
    let mut pass = |tokens: usize, splits, draw| {
        let first = position;
        position += tokens;
        // Tokens of all the table.
        let tokens = (first..position).map(|at| (at * 11 % VOCABULARY) as u32).collect();
        Pass { tokens, position: first, splits, draw }
    };
    let drawn = sampler().draw_elsewhere(0).unwrap_or(Draw::GREEDY);
    [
        pass(3, 1, Draw::GREEDY),
        pass(BATCH, 1, Draw::GREEDY),
        pass(1, 1, Draw::GREEDY),
        pass(1, if splits { 2 } else { 1 }, drawn),
    ]
}

/// Draws one of the likelier tokens.
fn sampler() -> Sampler {
    let params = SamplingParams { temperature: 1.5, top_k: 12, top_p: 0.95, min_p: 0.01, ..SamplingParams::default() };
    Sampler::new(params, 3)
}

/// Computes what the device should have.
struct Judge<'a> {
    miniature: &'a Miniature,
    kernels: Variant,
    cpu: Cpu,
}

impl<'a> Judge<'a> {
    fn new(miniature: &'a Miniature, kernels: Variant) -> Result<Judge<'a>> {
        let program = &miniature.truth;
        let mut cpu = Cpu::new(program, CONTEXT)?;
        cpu.reserve(program, CONTEXT)?;
        for (number, weight) in program.weights.iter().enumerate() {
            let id = WeightId(number as u32);
            let bytes = if weight.is_matrix { &miniature.dequantised(id) } else { &miniature.data[number] };
            cpu.weights.allocate(program, weight.group, Placement::Pinned)?;
            let copied: std::result::Result<(), std::convert::Infallible> =
                cpu.weights.fill(program, id, 0..bytes.len(), |range, to| {
                    to.copy_from_slice(&bytes[range]);
                    Ok(())
                });
            match copied {
                Ok(()) => {}
            }
        }
        Ok(Judge { miniature, kernels, cpu })
    }

    /// The kernel of the first step that is wrong. What is right is taken over, so that every step is judged
    /// by the inputs that it had.
    fn first_wrong(&mut self, trace: &Trace) -> Option<Kernel> {
        let passes = passes(true);
        let mut done = (0, 0, 0);
        for step in &trace.steps {
            let Pass { tokens, position, draw, .. } = &passes[step.pass];
            let batch = Batch { tokens, position: *position, rows: 0..tokens.len() };
            let first = if (done.0, done.1) == (step.pass, step.group) { done.2 } else { 0 };
            // Norms that are computed where they are read have no step of their own.
            for op in &self.miniature.truth.ops[step.group][first..step.ops.end] {
                self.cpu.step(&self.miniature.truth, op, &batch);
            }
            done = (step.pass, step.group, step.ops.end);
            let most = match step.kernel.variant(self.kernels).tiles {
                Some(Arithmetic::Half) => NMSE_MAX_HALF,
                Some(Arithmetic::Integer) => NMSE_MAX_INTEGER,
                _ => NMSE_MAX,
            };
            if !step.outputs.iter().all(|output| self.is_right(trace, output, &batch, draw, most)) {
                return Some(step.kernel);
            }
        }
        None
    }

    fn is_right(&mut self, trace: &Trace, output: &Output, batch: &Batch, draw: &Draw, most: f64) -> bool {
        let program = &self.miniature.truth;
        match output.place {
            Place::Slot(slot) => {
                let width = program.slots[slot.0 as usize];
                let words: Vec<f32> = trace.words(output).map(f32::from_bits).collect();
                let rows = words.chunks_exact(words.len() / batch.tokens.len());
                let values: Vec<f32> = rows.flat_map(|row| &row[..width]).copied().collect();
                let truth = self.cpu.values_mut(program, slot, batch);
                let is_right = agrees(truth.iter().copied(), values.iter().copied(), most);
                truth.copy_from_slice(&values);
                is_right
            }
            Place::Cache(layer) => {
                let halves = trace.words(output).flat_map(|word| [word as u16, (word >> 16) as u16]);
                let value = |bits| half::f16::from_bits(bits).to_f32();
                agrees(self.cpu.cache().layer(layer).map(value), halves.map(value), most)
            }
            Place::Token => {
                let logits = self.cpu.values_mut(program, program.logits, batch);
                let likeliest = Sampler::new(SamplingParams { temperature: 0.0, ..SamplingParams::default() }, 0);
                let mut sampler = if *draw == Draw::GREEDY { likeliest } else { sampler() };
                let token = sampler.sample(logits, &[]).ok();
                let mut words = trace.words(output).map(f32::from_bits);
                words.next() == token.map(|token| token as f32) && words.next() == Some(-1.0)
            }
        }
    }
}

/// Whether values are the truth but for an error of `most` of its square. `values` may go on.
fn agrees(truth: impl Iterator<Item = f32>, values: impl Iterator<Item = f32>, most: f64) -> bool {
    let (mut error, mut size) = (0.0, 0.0);
    for (truth, value) in truth.zip(values) {
        let (truth, value) = (f64::from(truth), f64::from(value));
        error += (truth - value) * (truth - value);
        size += truth * truth;
    }
    // Written so that NaN fails too.
    error <= most * size
}
