//! Weights in memory: a group's tensors lie in one allocation, filled by pieces of the file in any order.

use super::matmul::{self, Matrix};
use super::memory::AlignedBytes;
use crate::error::Result;
use crate::op::{Program, WeightId};
use crate::pager::Intervals;
use std::ops::Range;

/// One group's memory.
struct Resident {
    memory: AlignedBytes,
    /// Which bytes of each weight are there, by the weight's order in its group.
    filled: Vec<Intervals>,
    /// Bytes that are still missing.
    missing: u64,
}

/// The groups that are in memory.
pub struct Weights {
    groups: Vec<Option<Resident>>,
    scratch: Vec<u8>,
}

impl Weights {
    /// No weights yet.
    pub fn new(program: &Program) -> Weights {
        Weights { groups: program.groups.iter().map(|_| None).collect(), scratch: Vec::new() }
    }

    /// Allocates a group, if it is not there. Its bytes come by [`Weights::fill`].
    pub fn allocate(&mut self, program: &Program, group: usize) -> Result<()> {
        if self.groups[group].is_none() {
            let description = &program.groups[group];
            let sizes = description.weights.iter().map(|id| program.weights[id.0 as usize].bytes as u64);
            self.groups[group] = Some(Resident {
                memory: AlignedBytes::zeroed(description.bytes)?,
                filled: description.weights.iter().map(|_| Intervals::default()).collect(),
                missing: sizes.sum(),
            });
        }
        Ok(())
    }

    /// Frees a group.
    pub fn evict(&mut self, group: usize) {
        self.groups[group] = None;
    }

    /// Whether every byte of a group is there.
    pub fn resident(&self, group: usize) -> bool {
        self.groups[group].as_ref().is_some_and(|g| g.missing == 0)
    }

    /// Bytes allocated for weights.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().flatten().map(|g| g.memory.len() as u64).sum()
    }

    /// Copies `range` of a weight's bytes into place by calls of `copy(range of the weight, destination)`,
    /// without what is there already. A weight is repacked for the kernels when its last byte comes.
    /// Weights of groups that are not allocated are passed over.
    pub fn fill(
        &mut self,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        mut copy: impl FnMut(Range<usize>, &mut [u8]),
    ) {
        let weight = &program.weights[id.0 as usize];
        let Some(resident) = &mut self.groups[weight.group] else { return };
        let index =
            program.groups[weight.group].weights.iter().position(|w| *w == id).expect("a weight is in its group");
        let bytes = &mut resident.memory.as_mut_slice()[weight.group_offset..][..weight.bytes];
        for gap in resident.filled[index].insert(range) {
            copy(gap.clone(), &mut bytes[gap.clone()]);
            resident.missing -= gap.len() as u64;
        }
        if resident.filled[index].covers(weight.bytes) && !resident.filled[index].finished {
            resident.filled[index].finished = true;
            if weight.is_matrix {
                matmul::repack(weight.dtype, weight.columns, weight.rows, bytes, &mut self.scratch);
            }
        }
    }

    /// A matrix of a resident group.
    pub fn matrix<'a>(&'a self, program: &Program, id: WeightId) -> Matrix<'a> {
        let weight = &program.weights[id.0 as usize];
        Matrix { dtype: weight.dtype, columns: weight.columns, rows: weight.rows, bytes: self.bytes_of(program, id) }
    }

    /// An F32 vector of a resident group.
    pub fn vector<'a>(&'a self, program: &Program, id: WeightId) -> &'a [f32] {
        bytemuck::cast_slice(self.bytes_of(program, id))
    }

    fn bytes_of<'a>(&'a self, program: &Program, id: WeightId) -> &'a [u8] {
        let weight = &program.weights[id.0 as usize];
        let resident = self.groups[weight.group].as_ref().expect("ops run on resident groups");
        &resident.memory.as_slice()[weight.group_offset..][..weight.bytes]
    }
}
