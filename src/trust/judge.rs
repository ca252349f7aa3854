//! The judge of a trace: runs the ops of each step in scalar code, on the inputs that the device had, and tells
//! by how much the device's results differ.

use super::Miniature;
use crate::cpu::Cpu;
use crate::error::Result;
use crate::exec::{Batch, Draw};
use crate::gpu::shaders::{Arithmetic, Variant};
use crate::gpu::{Output, Room, Step, Target, Trace, segments};
use crate::pager::Placement;
use crate::program::*;
use crate::sample::Sampler;
use half::f16;
use std::convert::Infallible;

/// Computes what the device should have.
pub struct Judge<'a> {
    program: &'a Program,
    arithmetic: Arithmetic,
    cpu: Cpu,
}

impl<'a> Judge<'a> {
    /// Judges passes of a small model in this room, of kernels in this variant.
    pub fn new(miniature: &'a Miniature, kernels: Variant, room: Room) -> Result<Judge<'a>> {
        let program = &miniature.truth;
        let mut cpu = Cpu::with_batch(program, room.context, room.batch)?;
        cpu.reserve(program, room.rows_max, room.context)?;
        for (number, weight) in program.weights.iter().enumerate() {
            let id = WeightId(number as u32);
            let bytes = if weight.is_matrix { &miniature.dequantised(id) } else { &miniature.data[number] };
            cpu.weights.allocate(program, weight.group, Placement::Pinned)?;
            let copied: std::result::Result<(), Infallible> =
                cpu.weights.fill(program, id, 0..bytes.len(), |range, to| {
                    to.copy_from_slice(&bytes[range]);
                    Ok(())
                });
            match copied {
                Ok(()) => {}
            }
        }
        Ok(Judge { program, arithmetic: kernels.tiles.unwrap_or_default(), cpu })
    }

    /// The steps of a trace, each with the error of its results: the square of the difference to the truth over
    /// the truth's, and infinity for a wrong choice. What the device has is taken over, so that every step is
    /// judged by the inputs that it had.
    pub fn errors<'t>(&'t mut self, trace: &'t Trace) -> impl Iterator<Item = (&'t Step, f64)> {
        let mut done = (0, 0, 0);
        trace.steps.iter().map(move |step| {
            let pass = &trace.passes[step.pass];
            let batch = pass.batch();
            let first = if (done.0, done.1) == (step.pass, step.group) { done.2 } else { 0 };
            // Norms that are computed where they are read have no step of their own.
            for op in &self.program.ops[step.group][first..step.ops.end] {
                self.cpu.step(self.program, op, &batch);
            }
            done = (step.pass, step.group, step.ops.end);
            let errors = step.outputs.iter().map(|output| self.error(trace, output, &batch, pass.draw));
            (step, errors.fold(0.0, f64::max))
        })
    }

    fn error(&mut self, trace: &Trace, output: &Output, batch: &Batch, draw: Draw) -> f64 {
        let program = self.program;
        let words = || trace.words(output);
        match output.target {
            Target::Slot(slot) => {
                let width = program[slot];
                let words: Vec<f32> = words().map(f32::from_bits).collect();
                let rows = words.chunks_exact(words.len() / batch.tokens.len());
                let values: Vec<f32> = rows.flat_map(|row| &row[..width]).copied().collect();
                let truth = self.cpu.values_mut(program, slot, batch);
                let error = nmse(truth.iter().copied(), values.iter().copied());
                truth.copy_from_slice(&values);
                error
            }
            Target::Cache(state) => {
                let cache = self.cpu.cache_mut();
                let mut bytes: Vec<u8> = words().flat_map(u32::to_le_bytes).collect();
                // A buffer may be longer than what it is for.
                bytes.truncate(cache.bytes(state).len());
                let [truth, values] = [cache.bytes(state), &bytes].map(|bytes| cache.decode(state, bytes));
                cache.bytes_mut(state).copy_from_slice(&bytes);
                nmse(truth.into_iter(), values.into_iter())
            }
            Target::Past(state) => {
                let truth: &mut [f32] = bytemuck::cast_slice_mut(self.cpu.state_bytes(state));
                // A buffer may be longer than what it is for.
                let values: Vec<f32> = words().map(f32::from_bits).take(truth.len()).collect();
                let error = nmse(truth.iter().copied(), values.iter().copied());
                truth.copy_from_slice(&values);
                error
            }
            Target::Prepared(slot) => {
                let words: Vec<u32> = words().collect();
                let prepared = if self.arithmetic == Arithmetic::Half { halves } else { integers };
                let width = program[slot];
                let rows = self.cpu.values_mut(program, slot, batch).chunks_exact(width).enumerate();
                let chunks = rows.flat_map(|(token, row)| row.chunks(32).enumerate().map(move |at| (token, at)));
                let (mut truth, mut values) = (Vec::new(), Vec::new());
                for (token, (index, chunk)) in chunks {
                    let sum = |half: usize| chunk.iter().skip(16 * half).take(16).sum::<f32>();
                    truth.extend(chunk.iter().copied().chain([sum(0), sum(1)]));
                    let (chunk_values, sums) = prepared(&words, batch.tokens.len(), token, index);
                    values.extend(chunk_values.into_iter().take(chunk.len()).chain(sums));
                }
                nmse(truth.into_iter(), values.into_iter())
            }
            Target::Candidates => {
                let logits = &*self.cpu.values_mut(program, program.outputs.logits, batch);
                let words: Vec<f32> = words().map(f32::from_bits).collect();
                let best = words.chunks_exact(4 * Draw::TOP_K_MAX as usize);
                let (_, segment) = segments(program[program.outputs.logits]);
                let mut all = logits.chunks(segment).enumerate().zip(best);
                wrong_unless(all.all(|((number, logits), best)| {
                    let mut truth: Vec<(f32, usize)> =
                        logits.iter().enumerate().map(|(at, logit)| (*logit, number * segment + at)).collect();
                    truth.sort_by(|a, b| b.0.total_cmp(&a.0));
                    let mut best = best.chunks_exact(4).map(|quad| (quad[0], quad[1] as usize));
                    truth.into_iter().take(draw.top_k as usize).all(|candidate| best.next() == Some(candidate))
                }))
            }
            Target::Token => {
                let logits = self.cpu.values_mut(program, program.outputs.logits, batch);
                let token = Sampler::of(draw).sample(logits, &[]).ok();
                let mut words = words().map(f32::from_bits);
                wrong_unless(words.next() == token.map(|token| token as f32) && words.next() == Some(-1.0))
            }
        }
    }
}

fn wrong_unless(is_right: bool) -> f64 {
    if is_right { 0.0 } else { f64::INFINITY }
}

/// The square of the error over that of the truth; infinity where something is not finite. `values` may go on.
fn nmse(truth: impl Iterator<Item = f32>, values: impl Iterator<Item = f32>) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (truth, value) in truth.zip(values) {
        let (truth, value) = (f64::from(truth), f64::from(value));
        error += (truth - value) * (truth - value);
        size += truth * truth;
    }
    match error {
        0.0 => 0.0,
        error if error.is_finite() => error / size,
        _ => f64::INFINITY,
    }
}

/// The values of a token's chunk and the sums of its halves, as `shaders/prepare_half.wgsl` leaves them behind.
fn halves(words: &[u32], tokens: usize, token: usize, chunk: usize) -> ([f32; 32], [f32; 2]) {
    let words = &words[(chunk * tokens.div_ceil(4) + token / 4) * 76..][..76];
    let lane = token % 4;
    let scale = f32::from_bits(words[64 + lane]);
    let value = |i: usize| {
        let word = words[2 * i + lane / 2];
        scale * f16::from_bits((word >> (16 * (lane % 2))) as u16).to_f32()
    };
    (std::array::from_fn(value), [68, 72].map(|at| f32::from_bits(words[at + lane])))
}

/// The same of `shaders/prepare_integer.wgsl`.
fn integers(words: &[u32], tokens: usize, token: usize, chunk: usize) -> ([f32; 32], [f32; 2]) {
    let words = &words[(chunk * tokens.next_multiple_of(4) + token) * 12..][..12];
    let scale = f32::from_bits(words[8]);
    let value = |i: usize| scale * f32::from(words[i / 4].to_le_bytes()[i % 4] as i8);
    (std::array::from_fn(value), [9, 10].map(|at| f32::from_bits(words[at])))
}
