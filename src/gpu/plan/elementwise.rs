//! Dispatches of what happens to each value by itself.

use super::dispatch::residual;
use super::{Depth, Planner};
use crate::gpu::kernels::{self, Elementwise, activation_number, kinds};
use crate::gpu::shaders::Kernel;
use crate::program::*;

/// What the elementwise kernel does to each value.
pub(super) enum Each {
    Gate(Activation),
    Activate(Activation),
    Add,
    Softcap(f32),
    Scale(f32),
    Clamp(f32),
}

impl Planner<'_> {
    pub(super) fn elementwise(&mut self, dst: Slot, src: Option<Slot>, each: Each) {
        let (kind, number, activation) = match each {
            Each::Gate(activation) => (kinds::GATE, 0.0, activation),
            Each::Activate(activation) => (kinds::ACTIVATE, 0.0, activation),
            Each::Add => (kinds::ADD, 0.0, Activation::Identity),
            Each::Softcap(cap) => (kinds::SOFTCAP, cap, Activation::Identity),
            Each::Scale(factor) => (kinds::SCALE, factor, Activation::Identity),
            Each::Clamp(limit) => (kinds::CLAMP, limit, Activation::Identity),
        };
        let quads = self.quads(dst);
        let params = Elementwise {
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            dst_residual: residual(dst),
            src: src.map_or(0, |s| self.base(s)),
            src_stride: src.map_or(0, |s| self.stride(s)),
            src_residual: src.map_or(0, residual),
            quads,
            kind,
            number,
            flag: self.flag(),
            activation: activation_number(activation),
            width: self.program[dst] as u32,
        };
        self.push(Kernel::Elementwise, params, quads.div_ceil(64), Depth::Tokens(1));
    }

    pub(super) fn weigh(&mut self, slot: Slot, weight: WeightId) {
        let quads = self.quads(slot);
        let params = Elementwise {
            dst: self.base(slot),
            dst_stride: self.stride(slot),
            dst_residual: residual(slot),
            src: self.map.vector(weight),
            src_stride: (self.program[weight].columns > 1).into(),
            src_residual: 0,
            quads,
            kind: kinds::WEIGH,
            number: 0.0,
            flag: self.flag(),
            activation: activation_number(Activation::Identity),
            width: self.program[slot] as u32,
        };
        self.push(Kernel::Elementwise, params, quads.div_ceil(64), Depth::Tokens(1));
    }

    pub(super) fn copy(&mut self, op: &Op) {
        let Op::Copy { src, dst, run, count, from, to } = *op else { return };
        let quads = self.quads(dst);
        let params = kernels::Copy {
            src: self.base(src),
            src_stride: self.stride(src),
            src_residual: residual(src),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            dst_residual: residual(dst),
            quads,
            run: run as u32,
            count: count as u32,
            from_first: from.first as u32,
            from_step: from.step as u32,
            to_first: to.first as u32,
            // One run has none after it.
            to_step: if count > 1 { to.step } else { run } as u32,
            flag: self.flag(),
        };
        self.push(Kernel::Copy, params, quads.div_ceil(64), Depth::Tokens(1));
    }
}
