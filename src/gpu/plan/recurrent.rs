//! Dispatches of what has a state that holds the whole past: each goes through all tokens of a batch.

use super::{Cache, Depth, Planner};
use crate::gpu::kernels::{Conv, Delta, Echo, NONE, Parameters, Scan, Wkv};
use crate::gpu::shaders::Kernel;
use crate::program::*;

/// Rows of a workgroup.
const ROWS: usize = 64;

impl Planner<'_> {
    pub(super) fn short_conv(&mut self, op: &Op) {
        let Op::ShortConv { state, slot, kernel, bias } = *op else { return };
        let State::Conv { taps, .. } = self.program[state] else { return };
        let quads = self.quads(slot);
        let params = Conv {
            slot: self.base(slot),
            slot_stride: self.stride(slot),
            quads,
            taps: taps as u32,
            kernel: self.vector(kernel),
            bias: self.vector(bias),
        };
        self.push_state(Kernel::Conv, params, quads.div_ceil(64), state);
    }

    pub(super) fn scan(&mut self, op: &Op) {
        let Op::Scan { state, input, step, key, query, dst, bias, rate, skip, groups } = *op else { return };
        let State::Recurrent { heads, rows, columns } = self.program[state] else { return };
        let params = Scan {
            input: self.base(input),
            input_stride: self.stride(input),
            step: self.base(step),
            step_stride: self.stride(step),
            key: self.base(key),
            key_stride: self.stride(key),
            query: self.base(query),
            query_stride: self.stride(query),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            heads: heads as u32,
            rows: rows as u32,
            columns: columns as u32,
            groups: groups as u32,
            bias: self.vector(bias),
            rate: self.map.vector(rate),
            skip: self.map.vector(skip),
            rates: (self.program[rate].columns / heads) as u32,
        };
        self.push_state(Kernel::Scan, params, (heads * rows).div_ceil(ROWS) as u32, state);
    }

    pub(super) fn delta_rule(&mut self, op: &Op) {
        let Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups, interleaved } = *op else {
            return;
        };
        let State::Recurrent { heads, rows, columns } = self.program[state] else { return };
        let params = Delta {
            query: self.base(query),
            query_stride: self.stride(query),
            key: self.base(key),
            key_stride: self.stride(key),
            value: self.base(value),
            value_stride: self.stride(value),
            decay: self.base(decay),
            decay_stride: self.stride(decay),
            beta: self.base(beta),
            beta_stride: self.stride(beta),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            heads: heads as u32,
            rows: rows as u32,
            columns: columns as u32,
            groups: groups as u32,
            interleaved: interleaved.into(),
            bias: self.map.vector(bias),
            rate: self.map.vector(rate),
            decays: (self.program[bias].columns / heads) as u32,
        };
        self.push_state(Kernel::Delta, params, (heads * rows).div_ceil(ROWS) as u32, state);
    }

    pub(super) fn wkv(&mut self, op: &Op) {
        let Op::Wkv { state, query, key, value, decay, erase, dst, early } = *op else { return };
        let State::Recurrent { heads, rows, columns } = self.program[state] else { return };
        let [removed, added] = erase.map_or([NONE; 2], |slots| slots.map(|slot| self.base(slot)));
        let params = Wkv {
            query: self.base(query),
            query_stride: self.stride(query),
            key: self.base(key),
            key_stride: self.stride(key),
            value: self.base(value),
            value_stride: self.stride(value),
            decay: self.base(decay),
            decay_stride: self.stride(decay),
            removed,
            added,
            erase_stride: erase.map_or(0, |[slot, _]| self.stride(slot)),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            heads: heads as u32,
            rows: rows as u32,
            columns: columns as u32,
            early: early.into(),
        };
        self.push_state(Kernel::Wkv, params, (heads * rows).div_ceil(ROWS) as u32, state);
    }

    pub(super) fn echo(&mut self, op: &Op) {
        let Op::Echo { query, key, value, dst, heads } = *op else { return };
        let params = Echo {
            query: self.base(query),
            query_stride: self.stride(query),
            key: self.base(key),
            key_stride: self.stride(key),
            value: self.base(value),
            value_stride: self.stride(value),
            dst: self.base(dst),
            dst_stride: self.stride(dst),
            keys: self.quads(key) / heads as u32,
            values: self.quads(value) / heads as u32,
        };
        self.push(Kernel::Echo, params, heads as u32, Depth::Tokens(1));
    }

    fn push_state(&mut self, kernel: Kernel, params: impl Parameters, blocks: u32, state: StateId) {
        self.push(kernel, params, blocks, Depth::One).cache = Cache::State(state);
    }
}
