//! One pass of tokens on its way to the device: what goes ahead of it, its dispatches, and what is read back.

use super::kernels::{Parameters, Step};
use super::plan::{self, Cache, Condition, Dispatch, Extent, SPLITS_MAX};
use super::readback::Form;
use super::shaders::{Kernel, OP_BYTES, STEP_BYTES};
use super::{Bound, Gpu, SPLIT_POSITIONS};
use crate::error::{ChordError, Result};
use crate::exec::{Batch, Draw, Wanted};
use crate::program::*;

impl Gpu {
    /// Records a group's dispatches for a batch. A single token's are submitted with the head, a prompt's
    /// group by group and batch by batch. The head asks for what is `wanted`.
    pub fn run(&mut self, program: &Program, group: usize, batch: &Batch, wanted: Wanted) -> Result<()> {
        let tokens = batch.tokens.len();
        let head = program.is_head(group);
        let positions = batch.position..batch.position + tokens;
        let extent = Extent { tokens, positions: batch.positions, splits: self.splits(batch) };
        if self.begun.as_ref() != Some(&positions) {
            // The last batch of a prompt may be of one token, and its groups are not one after the other.
            self.flush();
            self.begin(program, batch, wanted, extent.splits);
            self.begun = Some(positions);
        }
        let bound = self.bind(group)?;
        let (mut encoder, before) = self.recording.take().unwrap_or_else(|| (self.device.encoder(), 0));
        let bound = &self.bound[group][bound];
        let bound = if tokens == 1 { &bound.single } else { &bound.batch };
        let needed = match wanted {
            Wanted::Hidden => program.ops_until_hidden(group),
            Wanted::Token(_) | Wanted::Logits => program.ops[group].len(),
        };
        let mut recorded = before;
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (dispatch, bind) in self.plan.dispatches(group, tokens).iter().zip(bound) {
                if dispatch.is_among(needed) && !is_of_logits(dispatch, wanted) && self.runs(dispatch, extent) {
                    self.dispatch(&mut pass, dispatch, bind, extent);
                    recorded += 1;
                }
            }
        }
        if program.groups[group].role == Role::Layer(0) && tokens == 1 {
            self.layer_dispatches = recorded - before;
        }
        let reading = head.then(|| self.finish(program, batch, wanted, &mut encoder));
        self.recording = Some((encoder, recorded));
        if head || tokens > 1 {
            let submission = self.flush();
            self.begun = None;
            if let (Some((bytes, form)), Some(submission)) = (reading, submission) {
                self.device.count(|c| c.readback_bytes += bytes as u64);
                self.readback.ask(bytes, form, submission, self.wake.clone());
                self.token = self.device.counters().since(&self.before);
            }
        }
        Ok(())
    }

    /// Sends off the pass of the token that the pass under way is about to choose, at `position`. False if no
    /// token is being chosen. All groups must be there.
    pub fn run_ahead(&mut self, program: &Program, position: usize, draw: Draw) -> Result<bool> {
        if !self.ways.samples || self.readback.chooses() != 1 {
            return Ok(false);
        }
        // The number of the token is not known here: the sampler leaves it where the embedding reads it.
        let batch =
            Batch { tokens: &[0], position, rows: 0..1, positions: position + 1, lane: 0, members: &[], texts: &[] };
        self.is_ahead = true;
        let result = (0..program.groups.len()).try_for_each(|g| self.run(program, g, &batch, Wanted::Token(draw)));
        self.is_ahead = false;
        self.ahead += 1;
        result.map(|()| true)
    }

    /// Whether a dispatch is part of a pass.
    pub(super) fn runs(&self, dispatch: &Dispatch, extent: Extent) -> bool {
        let uses_tiles = self.ways.kernels.tiles.is_some() && plan::uses_tiles(extent.tokens);
        let is_meant = match dispatch.condition {
            Condition::Always => true,
            Condition::Split => extent.splits > 1,
            Condition::Few => !uses_tiles,
            Condition::Many => uses_tiles,
            Condition::Prepared => uses_tiles && self.ways.kernels.prepares(),
            Condition::Sampled => self.ways.samples,
        };
        is_meant && dispatch.counts(&self.scales) && dispatch.depth.workgroups(extent) > 0
    }

    /// Records a dispatch.
    pub(super) fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass,
        dispatch: &Dispatch,
        bind: &wgpu::BindGroup,
        extent: Extent,
    ) {
        let x = dispatch.blocks.min(self.device.workgroups_max());
        let y = if dispatch.splits { extent.splits } else { dispatch.blocks.div_ceil(x.max(1)) };
        pass.set_pipeline(&self.pipelines[&dispatch.kernel].pipeline);
        pass.set_bind_group(0, bind, &[]);
        pass.dispatch_workgroups(x, y, dispatch.depth.workgroups(extent));
    }

    /// Sends off what is recorded: the buffers that it reads may be written again afterwards.
    pub(super) fn flush(&mut self) -> Option<wgpu::SubmissionIndex> {
        self.recording.take().map(|(encoder, dispatches)| self.device.submit(encoder, dispatches))
    }

    /// Workgroups that share a head's positions.
    fn splits(&self, batch: &Batch) -> u32 {
        match batch.tokens.len() {
            1 if self.ways.splits => batch.positions.div_ceil(SPLIT_POSITIONS).clamp(1, SPLITS_MAX) as u32,
            _ => 1,
        }
    }

    /// Tells the device where a batch stands: what its kernels need to know goes ahead of what is recorded.
    pub(super) fn begin(&mut self, program: &Program, batch: &Batch, wanted: Wanted, splits: u32) {
        let draw = match wanted {
            Wanted::Token(draw) => draw,
            _ => Draw::GREEDY,
        };
        let step = Step {
            position: batch.position as u32,
            tokens: batch.tokens.len() as u32,
            row: batch.rows.start as u32,
            splits,
            top_k: draw.top_k,
            inverse_temperature: 1.0 / draw.temperature,
            top_p: draw.top_p,
            min_p: draw.min_p,
            random: draw.random,
            positions: batch.positions as u32,
        };
        self.device.write(&self.step, 0, &step.bytes::<STEP_BYTES>());

        let mut scratch = std::mem::take(&mut self.scratch);
        let mut write = |quad: u32, values: &mut dyn Iterator<Item = f32>| {
            scratch.clear();
            values.for_each(|v| scratch.extend(v.to_le_bytes()));
            self.device.write(&self.activations, u64::from(quad) * 16, &scratch);
        };
        // Numbers below 2^24 are exact in f32.
        if !self.is_ahead {
            write(self.arena.tokens, &mut batch.tokens.iter().map(|t| *t as f32));
        }
        for (index, rope) in program.ropes.iter().enumerate() {
            let factors = rope.factors.map(|id| self.weights.kept(id));
            let rotation = &mut self.rotations[index];
            rotation.prepare(rope, factors.as_deref(), batch.position..batch.position + batch.tokens.len());
            write(self.arena.tables[index], &mut rotation.pairs().iter().flat_map(|(cos, sin)| [*cos, *sin]));
        }
        self.scratch = scratch;
        self.before = self.device.counters();
    }

    /// The sets that a group's dispatches read: its own, and the first group's, as a tied head does.
    fn sets(&self, group: usize) -> [usize; 2] {
        let id = |group: usize| self.weights.set(group).map_or(0, |set| set.id);
        [id(group), if self.plan.reads_first[group] { id(0) } else { 0 }]
    }

    /// Makes the bind groups of a group for the buffers that it is in, unless they are there; their number
    /// in `bound`.
    pub(super) fn bind(&mut self, group: usize) -> Result<usize> {
        let sets = self.sets(group);
        if let Some(bound) = self.bound[group].iter().position(|b| b.sets == sets) {
            return Ok(bound);
        }
        let bind = |(offset, dispatch): (usize, &Dispatch)| {
            let (from, buffer) = dispatch.weights;
            let set = self.weights.set(from).ok_or_else(|| ChordError::internal("ops run on resident groups"))?;
            let weights = set.buffers[buffer].as_entire_binding();
            let cache = match dispatch.cache {
                Cache::State(state) => &self.caches[state.0 as usize],
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

    /// Copies what is wanted to where the host can read it: so many bytes, of this form.
    fn finish(
        &mut self,
        program: &Program,
        batch: &Batch,
        wanted: Wanted,
        encoder: &mut wgpu::CommandEncoder,
    ) -> (usize, Form) {
        let (slot, rows, width) = match wanted {
            Wanted::Token(_) if self.ways.samples => (RESIDUAL, 0..0, 0),
            Wanted::Token(_) | Wanted::Logits => (program.outputs.logits, 0..1, program[program.outputs.logits]),
            Wanted::Hidden => match program.outputs.hidden {
                RESIDUAL => (RESIDUAL, batch.rows.clone(), program.slots[0]),
                slot => (slot, 0..batch.rows.len(), program.slots[0]),
            },
        };
        let (form, from) = match self.ways.samples {
            true => (Form::Chosen { is_wanted: matches!(wanted, Wanted::Token(_)) }, self.arena.result),
            false => (Form::Flags(program.groups.len()), self.arena.flags),
        };
        let (from, first) = (u64::from(from) * 16, form.bytes() as u64);
        let buffer = self.readback.buffer();
        encoder.copy_buffer_to_buffer(&self.activations, from, buffer, 0, first);
        if let Form::Flags(_) = form {
            encoder.clear_buffer(&self.activations, from, Some(first));
        }
        let (base, stride) = (self.arena.slots[slot.0 as usize], self.arena.strides[slot.0 as usize]);
        let row_bytes = width as u64 * 4;
        for (index, row) in rows.clone().enumerate() {
            let from = u64::from(base) + row as u64 * u64::from(stride);
            let to = first + index as u64 * row_bytes;
            encoder.copy_buffer_to_buffer(&self.activations, from * 16, buffer, to, row_bytes);
        }
        (form.bytes() + rows.len() * width * 4, form)
    }
}

/// Whether a dispatch reads logits that nobody wants, and that were not made.
fn is_of_logits(dispatch: &Dispatch, wanted: Wanted) -> bool {
    wanted == Wanted::Hidden && dispatch.kernel == Kernel::Top
}
