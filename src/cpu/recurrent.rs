//! Ops that move a matrix for each head on.

use super::{Cpu, delta, scan, span, wkv};
use crate::exec::Batch;
use crate::program::{Op, Program, Slot, State};

impl Cpu {
    /// Computes an [`Op::Scan`].
    pub(super) fn scan(&mut self, program: &Program, op: &Op, batch: &Batch, out: &mut [f32]) {
        let Op::Scan { state, input, step, key, query, bias, rate, skip, groups, .. } = *op else { return };
        let State::Recurrent { heads, rows, columns } = program[state] else {
            unreachable!("a scan moves a matrix on");
        };
        let scan = scan::Scan {
            heads,
            rows,
            columns,
            groups,
            bias: bias.map(|id| self.weights.vector(program, id)),
            rate: self.weights.vector(program, rate),
            skip: self.weights.vector(program, skip),
        };
        for part in batch.spans() {
            let read = |slot: Slot| &self.slots[slot.0 as usize][span(program, slot, batch)][part.of(program[slot])];
            let lane = &mut self.lanes[part.lane];
            let (state, scratch) = lane.fixed.of(state, part.positions.start);
            let out = &mut out[part.of(heads * rows)];
            scan.run([input, step, key, query].map(read), state, scratch, out);
        }
    }

    /// Computes an [`Op::DeltaRule`].
    pub(super) fn delta_rule(&mut self, program: &Program, op: &Op, batch: &Batch, out: &mut [f32]) {
        let Op::DeltaRule { state, query, key, value, decay, beta, bias, rate, groups, interleaved, .. } = *op else {
            return;
        };
        let State::Recurrent { heads, rows, columns } = program[state] else {
            unreachable!("the delta rule moves a matrix on");
        };
        let rule = delta::DeltaRule {
            heads,
            rows,
            columns,
            groups,
            interleaved,
            bias: self.weights.vector(program, bias),
            rate: self.weights.vector(program, rate),
        };
        for part in batch.spans() {
            let read = |slot: Slot| &self.slots[slot.0 as usize][span(program, slot, batch)][part.of(program[slot])];
            let lane = &mut self.lanes[part.lane];
            let (state, scratch) = lane.fixed.of(state, part.positions.start);
            let out = &mut out[part.of(heads * rows)];
            rule.run([query, key, value, decay, beta].map(read), state, scratch, out);
        }
    }

    /// Computes an [`Op::Wkv`].
    pub(super) fn wkv(&mut self, program: &Program, op: &Op, batch: &Batch, out: &mut [f32]) {
        let Op::Wkv { state, query, key, value, decay, erase, early, .. } = *op else { return };
        let State::Recurrent { heads, rows, columns } = program[state] else {
            unreachable!("a matrix is moved on");
        };
        for part in batch.spans() {
            let read = |slot: Slot| &self.slots[slot.0 as usize][span(program, slot, batch)][part.of(program[slot])];
            let lane = &mut self.lanes[part.lane];
            let (state, scratch) = lane.fixed.of(state, part.positions.start);
            let out = &mut out[part.of(heads * rows)];
            let erase = erase.map(|slots| slots.map(read));
            let inputs = [query, key, value, decay].map(read);
            wkv::Wkv { heads, rows, columns, erase, early }.run(inputs, state, scratch, out);
        }
    }
}
