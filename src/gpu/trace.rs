//! A trace: what every dispatch of a pass left behind, brought back to be compared step by step.

use super::Gpu;
use super::device::Buffer;
use super::plan::{Extent, segments};
use super::readback::Mapping;
use super::shaders::Kernel;
use crate::error::Result;
use crate::exec::{Batch, Draw, Poll, Wanted};
use crate::program::*;
use std::ops::Range;

/// A pass to trace: `tokens` from `position`, and the head for a single one.
pub struct Pass {
    /// At least one.
    pub tokens: Vec<u32>,
    /// Of the first token in the sequence.
    pub position: usize,
    /// Workgroups that share the positions of a head.
    pub splits: u32,
    /// How the next token is chosen, where the head is computed.
    pub draw: Draw,
}

impl Pass {
    fn extent(&self) -> Extent {
        let tokens = self.tokens.len();
        Extent { tokens, positions: self.position + tokens, splits: self.splits }
    }

    /// Its tokens, which are the last of the sequence.
    pub fn batch(&self) -> Batch<'_> {
        let Pass { tokens, position, .. } = self;
        let (rows, positions) = (0..tokens.len(), position + tokens.len());
        Batch { tokens, position: *position, rows, positions, lane: 0, members: &[], texts: &[] }
    }
}

/// What a dispatch did, or the last of several that did it together.
pub struct Step {
    /// Number of the pass.
    pub pass: usize,
    /// Number of the group.
    pub group: usize,
    dispatch: usize,
    /// What was launched.
    pub kernel: Kernel,
    /// The ops of the group that it computed; none of them where it chose a token.
    pub ops: Range<usize>,
    /// What it left behind, each to be read by [`Trace::words`].
    pub outputs: Vec<Output>,
}

/// What an op left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Rows of a slot, padded to whole chunks.
    Slot(Slot),
    /// Keys and values, as bits of f16.
    Cache(StateId),
    /// A state that holds the whole past, in f32.
    Past(StateId),
    /// A slot's rows prepared for tiles.
    Prepared(Slot),
    /// The best tokens of each segment of the vocabulary: 64 quads each, of a logit and a token's number.
    Candidates,
    /// The chosen token, and the first group that made a value that is not finite, or −1.
    Token,
}

/// Where that lies in the trace.
pub struct Output {
    /// What it is.
    pub target: Target,
    from: u64,
    buffer: usize,
    bytes: Range<usize>,
}

/// Passes that were sent off.
pub struct Trace {
    /// As they were asked for.
    pub passes: Vec<Pass>,
    /// In the order in which they ran.
    pub steps: Vec<Step>,
    readbacks: Vec<Buffer>,
    mappings: Vec<Mapping>,
    /// What each of them was.
    bytes: Vec<Vec<u8>>,
}

impl Gpu {
    /// Sends passes off, one after the other. All weights must be there, and room for the passes' rows.
    pub fn trace(&mut self, program: &Program, passes: Vec<Pass>) -> Result<Trace> {
        let mut ends = vec![0];
        let mut steps = Vec::new();
        for (number, pass) in passes.iter().enumerate() {
            self.steps(program, number, pass, &mut ends, &mut steps);
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readbacks: Vec<Buffer> = ends.iter().map(|end| self.device.buffer("trace", *end, usage)).collect();
        let mut left = steps.iter().peekable();
        for (number, pass) in passes.iter().enumerate() {
            let tokens = pass.tokens.len();
            let batch = pass.batch();
            self.begin(program, &batch, Wanted::Token(pass.draw), pass.splits);
            let (extent, mut encoder, mut count) = (pass.extent(), self.device.encoder(), 0);
            for group in groups(program, pass) {
                let bound = self.bind(group)?;
                let bound = &self.bound[group][bound];
                let bound = if tokens == 1 { &bound.single } else { &bound.batch };
                for (at, (dispatch, bind)) in self.plan.dispatches(group, tokens).iter().zip(bound).enumerate() {
                    if !self.runs(dispatch, extent) {
                        continue;
                    }
                    let mut compute = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                    self.dispatch(&mut compute, dispatch, bind, extent);
                    drop(compute);
                    count += 1;
                    let step = left.next_if(|step| (step.pass, step.group, step.dispatch) == (number, group, at));
                    for output in step.iter().flat_map(|step| &step.outputs) {
                        let source = match output.target {
                            Target::Cache(state) | Target::Past(state) => &self.caches[state.0 as usize],
                            Target::Prepared(_) => &self.prepared,
                            Target::Slot(_) | Target::Candidates | Target::Token => &self.activations,
                        };
                        let (to, bytes) = (output.bytes.start as u64, output.bytes.len() as u64);
                        encoder.copy_buffer_to_buffer(source, output.from, &readbacks[output.buffer], to, bytes);
                    }
                }
            }
            self.device.submit(encoder, count);
        }
        let ask = |buffer: &Buffer| Mapping::ask(buffer, buffer.size() as usize, self.wake.clone());
        let mappings = readbacks.iter().map(ask).collect();
        Ok(Trace { passes, steps, readbacks, mappings, bytes: Vec::new() })
    }

    /// Whether the results of a trace are there.
    pub fn poll_trace(&self, trace: &mut Trace) -> Poll {
        self.device.poll();
        let results = trace.mappings.iter().map(Mapping::result);
        let results: Option<Vec<bool>> = results.collect();
        match results {
            _ if self.device.is_lost() => return Poll::Lost,
            None => return Poll::Pending,
            Some(results) if results.contains(&false) => return Poll::Lost,
            Some(_) => {}
        }
        for buffer in &trace.readbacks {
            let Ok(mapped) = buffer.get_mapped_range(..) else { return Poll::Lost };
            trace.bytes.push(mapped.to_vec());
        }
        Poll::Ready
    }

    /// The steps of a pass; their outputs lie behind `ends`, one for each buffer.
    fn steps(&self, program: &Program, number: usize, pass: &Pass, ends: &mut Vec<usize>, steps: &mut Vec<Step>) {
        let tokens = pass.tokens.len();
        for group in groups(program, pass) {
            let dispatches = self.plan.dispatches(group, tokens).iter().enumerate();
            let mut dispatches = dispatches.filter(|(_, d)| self.runs(d, pass.extent())).peekable();
            while let Some((at, dispatch)) = dispatches.next() {
                let ops = &program.ops[group][dispatch.ops.clone()];
                let targets = match (dispatch.kernel, ops.first()) {
                    (Kernel::Prepare, Some(Op::MatMul { src, .. })) => vec![Target::Prepared(*src)],
                    (Kernel::Top, _) => vec![Target::Candidates],
                    (Kernel::Sample, _) => vec![Target::Token],
                    // Of several that compute the same ops the last has them complete.
                    _ if dispatches.peek().is_some_and(|(_, next)| next.ops == dispatch.ops) => continue,
                    _ => targets(program, ops),
                };
                let outputs = targets.into_iter().map(|target| {
                    let (from, bytes) = self.target(program, target, tokens);
                    if ends[ends.len() - 1] + bytes > self.device.buffer_bytes_max() {
                        ends.push(0);
                    }
                    let buffer = ends.len() - 1;
                    ends[buffer] += bytes;
                    Output { target, from, buffer, bytes: ends[buffer] - bytes..ends[buffer] }
                });
                let outputs = outputs.collect();
                let (kernel, ops) = (dispatch.kernel, dispatch.ops.clone());
                steps.push(Step { pass: number, group, dispatch: at, kernel, ops, outputs });
            }
        }
    }

    /// The first byte of a target, and how many there are for so many tokens.
    fn target(&self, program: &Program, target: Target, tokens: usize) -> (u64, usize) {
        match target {
            Target::Slot(slot) => {
                let (base, stride) = (self.arena.slots[slot.0 as usize], self.arena.strides[slot.0 as usize]);
                (u64::from(base) * 16, tokens * stride as usize * 16)
            }
            Target::Cache(state) | Target::Past(state) => (0, self.caches[state.0 as usize].size() as usize),
            Target::Prepared(_) => (0, self.prepared.size() as usize),
            Target::Candidates => {
                let (segments, _) = segments(program[program.outputs.logits]);
                (u64::from(self.arena.candidates) * 16, segments * Draw::TOP_K_MAX as usize * 16)
            }
            Target::Token => (u64::from(self.arena.result) * 16, 16),
        }
    }
}

impl Trace {
    /// The words of an output.
    pub fn words(&self, output: &Output) -> impl Iterator<Item = u32> + '_ {
        let words = self.bytes[output.buffer][output.bytes.clone()].chunks_exact(4);
        words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    }
}

/// The groups that a pass goes through.
fn groups(program: &Program, pass: &Pass) -> Range<usize> {
    let heads = program.groups.iter().filter(|group| group.role == Role::Head && pass.tokens.len() > 1);
    0..program.groups.len() - heads.count()
}

/// Where ops that ran together left something: what only they themselves read may be nowhere.
fn targets(program: &Program, ops: &[Op]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        targets.extend(op.written_state().map(|state| match program[state] {
            State::Kv(_) => Target::Cache(state),
            State::Conv { .. } | State::Recurrent { .. } => Target::Past(state),
        }));
        let is_last = |slot: &Slot| !ops[at + 1..].iter().any(|op| op.reads(*slot) || op.destination() == Some(*slot));
        targets.extend(op.destination().filter(is_last).map(Target::Slot));
    }
    targets
}
