//! States of one size, which hold the whole past of a sequence, and the copies that are made of them to go back to.

use super::memory::zeroed;
use crate::error::Result;
use crate::program::{Program, State, StateId};
use crate::state::COPIES;

/// Every such state of a model.
pub struct Fixed {
    /// By state; empty for one of another kind.
    states: Vec<Vec<f32>>,
    /// All states, one after the other.
    copies: [Vec<f32>; COPIES],
    /// Room for a row of the widest matrix.
    scratch: Vec<f32>,
}

impl Fixed {
    /// The states of a program, and room for their copies.
    pub fn new(program: &Program) -> Result<Fixed> {
        let mut copies: [Vec<f32>; COPIES] = Default::default();
        for copy in &mut copies {
            *copy = zeroed(program.fixed_values())?;
        }
        let states = program.states.iter().map(|state| zeroed(state.fixed_values())).collect::<Result<_>>()?;
        let columns = |state: &State| if let State::Recurrent { columns, .. } = *state { columns } else { 0 };
        let scratch = zeroed(program.states.iter().map(columns).max().unwrap_or(0))?;
        Ok(Fixed { states, copies, scratch })
    }

    /// Bytes of the room for copies.
    pub fn copies_bytes(program: &Program) -> u64 {
        4 * (COPIES as u64) * program.fixed_values() as u64
    }

    /// Whether a state is one of these.
    pub fn has(&self, state: StateId) -> bool {
        !self.states[state.0 as usize].is_empty()
    }

    /// A state at a position, to be moved on, and scratch for a row of a matrix. At the first position nothing is
    /// past, and the state is all zeros.
    pub fn of(&mut self, state: StateId, position: usize) -> (&mut [f32], &mut [f32]) {
        let state = &mut self.states[state.0 as usize];
        if position == 0 {
            state.fill(0.0);
        }
        (state, &mut self.scratch)
    }

    /// The bytes of a state.
    pub fn bytes_mut(&mut self, state: StateId) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.states[state.0 as usize])
    }

    /// Takes the states of another sequence of the same model, and their copies.
    pub fn take_after(&mut self, other: &Fixed) {
        let others = other.states.iter().chain(&other.copies);
        self.states.iter_mut().chain(&mut self.copies).zip(others).for_each(|(own, other)| own.copy_from_slice(other));
    }

    /// Copies a state as it is now.
    pub fn copy(&mut self, state: StateId, copy: usize) {
        let first = self.first(state);
        let source = &self.states[state.0 as usize];
        self.copies[copy][first..][..source.len()].copy_from_slice(source);
    }

    /// Puts a copy in place of all states.
    pub fn take_back(&mut self, copy: usize) {
        let mut rest = self.copies[copy].as_slice();
        for state in &mut self.states {
            let (now, later) = rest.split_at(state.len());
            state.copy_from_slice(now);
            rest = later;
        }
    }

    /// Where a state begins in a copy.
    fn first(&self, state: StateId) -> usize {
        self.states[..state.0 as usize].iter().map(Vec::len).sum()
    }
}
