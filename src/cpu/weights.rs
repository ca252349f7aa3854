//! Weights: a group's tensors lie in one allocation, filled by pieces of the file in any order. Matrices
//! of a group may also stay on disk; then products read them from there, a few rows at a time, but for experts that
//! are in memory since they are used often.

use super::disk::{Disk, DiskReader, Stage};
use super::expert_cache::{ExpertCache, ExpertCounters};
use super::matmul::{self, Input, Matrix};
use super::memory::AlignedBytes;
use crate::error::Result;
use crate::pager::{Intervals, Placement};
use crate::program::{Program, RowView, WEIGHT_ALIGNMENT, Weight, WeightId};
use std::ops::Range;

/// Bytes of rows that are repacked on the way to their place: they stay in the processor's cache.
const STAGE_BYTES: usize = 256 << 10;

/// One group's memory.
struct Resident {
    memory: AlignedBytes,
    /// Where each weight lies in it, by the weight's place in its group; none if it stays on disk.
    offsets: Vec<Option<usize>>,
    /// Which bytes of each weight are there.
    filled: Vec<Intervals>,
    /// Bytes at the start of each that were repacked.
    packed: Vec<usize>,
    /// Bytes that are still missing.
    missing: u64,
}

/// The groups that can be computed with.
pub struct Weights {
    groups: Vec<Option<Resident>>,
    /// Memory of groups that left, for those that come.
    spare: Vec<AlignedBytes>,
    scratch: Vec<u8>,
    disk: Disk,
    /// Vectors that came before their group.
    early: Vec<(WeightId, Vec<f32>)>,
    /// Experts of matrices on disk.
    experts: Option<ExpertCache>,
    expert_counters: ExpertCounters,
}

impl Weights {
    /// No weights yet.
    pub fn new(program: &Program) -> Weights {
        Weights {
            groups: program.groups.iter().map(|_| None).collect(),
            spare: Vec::new(),
            scratch: Vec::new(),
            disk: Disk::new(),
            early: Vec::new(),
            experts: None,
            expert_counters: ExpertCounters::default(),
        }
    }

    /// Sets what reads the matrices that stay on disk.
    pub fn set_disk(&mut self, reader: DiskReader) {
        self.disk.reader = Some(reader);
    }

    /// Sets how many bytes are read from disk at once.
    pub fn set_read_bytes(&mut self, bytes: u64) {
        self.disk.read_bytes = bytes;
    }

    /// Makes room for experts of matrices on disk, in so many bytes at most.
    pub fn make_room_for_experts(&mut self, program: &Program, bytes: u64) -> Result<()> {
        self.experts = Some(ExpertCache::new(program, bytes)?);
        Ok(())
    }

    /// How products with experts on disk found them.
    pub fn expert_counters(&self) -> ExpertCounters {
        self.expert_counters
    }

    /// Whether a product could not read a matrix since this was asked last: its values mean nothing.
    pub fn take_failure(&self) -> bool {
        self.disk.take_failure()
    }

    /// Gives a group memory, if it has none. Its bytes come by [`Weights::fill`].
    pub fn allocate(&mut self, program: &Program, group: usize, placement: Placement) -> Result<()> {
        if self.groups[group].is_some() {
            return Ok(());
        }
        let weights = || program.groups[group].weights.iter().map(|id| &program[*id]);
        let (offsets, bytes) = places(program, group, placement);
        // Memory that is too small is given back before more is taken.
        let spare = if placement == Placement::Ring { self.spare.pop() } else { None };
        let spare = spare.and_then(|mut memory| memory.reuse(bytes).then_some(memory));
        self.groups[group] = Some(Resident {
            memory: spare.map_or_else(|| AlignedBytes::zeroed(bytes), Ok)?,
            offsets,
            filled: weights().map(|_| Intervals::default()).collect(),
            packed: vec![0; program.groups[group].weights.len()],
            missing: weights().map(|w| w.bytes as u64).sum(),
        });
        Ok(())
    }

    /// Drops a group; its memory waits for the next one.
    pub fn evict(&mut self, group: usize) {
        self.spare.extend(self.groups[group].take().map(|resident| resident.memory));
    }

    /// Drops a group and its memory.
    pub fn release(&mut self, group: usize) {
        self.groups[group] = None;
    }

    /// Whether every byte of a group is there.
    pub fn resident(&self, group: usize) -> bool {
        self.groups[group].as_ref().is_some_and(|g| g.missing == 0)
    }

    /// Bytes allocated for weights.
    pub fn bytes(&self) -> u64 {
        let resident = self.groups.iter().flatten().map(|group| &group.memory);
        let groups: u64 = resident.chain(&self.spare).map(|memory| memory.allocated() as u64).sum();
        groups + self.experts.as_ref().map_or(0, ExpertCache::bytes)
    }

    /// Brings `range` of a weight's bytes into place by calls of `copy(range of the weight, destination)`,
    /// without what is there already. Rows are repacked for the kernels as soon as they are whole, where
    /// they follow one another on the way to their place. Matrices that stay on disk are not copied: the
    /// caller knows that their bytes are there. Weights of groups that were not allocated are passed over.
    /// Where `copy` fails, what came before counts as filled.
    pub fn fill<E>(
        &mut self,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        mut copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let weight = &program[id];
        let Some(resident) = &mut self.groups[weight.group] else { return Ok(()) };
        let (filled, packed) = (&mut resident.filled[weight.index], &mut resident.packed[weight.index]);
        let Some(offset) = resident.offsets[weight.index] else {
            resident.missing -= filled.gaps(&range).iter().map(|gap| gap.len() as u64).sum::<u64>();
            filled.insert(range);
            return Ok(());
        };
        let bytes = &mut resident.memory.as_mut_slice()[offset..][..weight.bytes];
        // Rows that are repacked together, and how many of their bytes to take at once.
        let unit = match weight.is_matrix && matmul::wants_quantised(weight.dtype) {
            true => matmul::repack_unit(weight.dtype, weight.columns),
            false => usize::MAX,
        };
        let stage = (STAGE_BYTES / unit).max(1).saturating_mul(unit);
        for gap in filled.gaps(&range) {
            let mut at = gap.start;
            while at < gap.end {
                let whole = (gap.end - at) / unit * unit;
                let end = if at == *packed && whole > 0 {
                    let end = at + whole.min(stage);
                    self.scratch.resize(self.scratch.len().max(end - at), 0);
                    copy(at..end, &mut self.scratch[..end - at])?;
                    matmul::interleave(weight.dtype, weight.columns, &self.scratch[..end - at], &mut bytes[at..end]);
                    *packed = end;
                    end
                } else {
                    // The rest of rows that were begun; or bytes that others have to come before.
                    let end = if at == filled.start() { gap.end.min((at / unit + 1) * unit) } else { gap.end };
                    copy(at..end, &mut bytes[at..end])?;
                    end
                };
                filled.insert(at..end);
                resident.missing -= (end - at) as u64;
                at = end;
                let whole = filled.start() / unit * unit;
                if *packed < whole {
                    matmul::repack(weight.dtype, weight.columns, &mut bytes[*packed..whole], &mut self.scratch);
                    *packed = whole;
                }
            }
        }
        Ok(())
    }

    /// Calls `visit(matrix, first, count, done)` for rows `rows` of a weight: with the weight itself if it is
    /// in memory, else with a few of its rows after the other. Each time `count` rows of `matrix` from
    /// `first` on are meant, after `done` of `rows`.
    pub fn slices(
        &self,
        program: &Program,
        id: WeightId,
        rows: Range<usize>,
        stage: &mut Stage,
        mut visit: impl FnMut(&Matrix, usize, usize, usize),
    ) {
        let weight = &program[id];
        if let Some(bytes) = self.bytes_of(weight) {
            return visit(&matrix(weight, weight.rows, bytes), rows.start, rows.len(), 0);
        }
        if let Some(bytes) = self.expert(weight, id, &rows) {
            return visit(&matrix(weight, rows.len(), bytes), 0, rows.len(), 0);
        }
        stage.slices(&self.disk, weight, rows.clone(), |slice, bytes| {
            let (from, to) = (slice.start.max(rows.start), slice.end.min(rows.end));
            visit(&matrix(weight, slice.len(), bytes), from - slice.start, to - from, from - rows.start);
        });
    }

    /// `out[t · view.rows + r]` = or += `W[r]` · `input[t]`, for the columns `tokens` of the input: all from the
    /// first, or a single one.
    #[allow(clippy::too_many_arguments)]
    pub fn multiply(
        &self,
        program: &Program,
        view: RowView,
        input: Input,
        tokens: Range<usize>,
        out: &mut [f32],
        add: bool,
        stage: &mut Stage,
    ) {
        let rows = view.first_row..view.first_row + view.rows;
        // A single column, whatever its number, begins where `out` does.
        let stride = if tokens.len() == 1 { 0 } else { view.rows };
        self.slices(program, view.weight, rows, stage, |matrix, first, count, done| {
            let product = if add { matmul::matmul_add } else { matmul::matmul };
            product(matrix, first, count, input, tokens.clone(), &mut out[done..], stride);
        });
    }

    /// Whether an expert of a weight is in memory.
    pub fn has_expert(&self, program: &Program, view: RowView, expert: usize) -> bool {
        let first = view.first_row + expert * view.rows;
        let weight = &program[view.weight];
        self.bytes_of(weight).is_some() || self.expert(weight, view.weight, &(first..first + view.rows)).is_some()
    }

    /// An expert of a weight is about to be multiplied with so many columns. One on disk comes into memory if it is worth
    /// that.
    pub fn demand_expert(&mut self, program: &Program, id: WeightId, expert: usize, columns: usize, stage: &mut Stage) {
        if self.bytes_of(&program[id]).is_some() {
            return;
        }
        let Weights { experts, disk, expert_counters, .. } = self;
        match experts.as_mut().is_some_and(|cache| cache.demand(program, id, expert, columns, disk, stage)) {
            true => expert_counters.hits += 1,
            false => expert_counters.reads += 1,
        }
    }

    /// The rows of an expert of a weight on disk, if it is in memory.
    fn expert(&self, weight: &Weight, id: WeightId, rows: &Range<usize>) -> Option<&[u8]> {
        self.experts.as_ref()?.expert(id, rows, weight.bytes / weight.rows)
    }

    /// One row of a matrix, dequantised.
    pub fn row(&self, program: &Program, id: WeightId, row: usize, stage: &mut Stage, out: &mut [f32]) {
        let weight = &program[id];
        match self.bytes_of(weight) {
            Some(bytes) => matmul::row(&matrix(weight, weight.rows, bytes), row, out),
            None => {
                let bytes = stage.row(&self.disk, weight, row);
                matmul::row(&matrix(weight, 1, bytes), 0, out);
            }
        }
    }

    /// An F32 vector of a resident group.
    pub fn vector<'a>(&'a self, program: &Program, id: WeightId) -> &'a [f32] {
        let bytes = self.bytes_of(&program[id]);
        bytemuck::cast_slice(bytes.expect("vectors are in memory"))
    }

    /// Keeps a vector that came before its group.
    pub fn keep(&mut self, id: WeightId, bytes: &[u8]) {
        if self.early.iter().all(|(kept, _)| *kept != id) {
            let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            self.early.push((id, bytes.chunks_exact(4).map(value).collect()));
        }
    }

    /// An F32 vector that came before its group, or of a resident group.
    pub fn vector_ahead<'a>(&'a self, program: &Program, id: WeightId) -> &'a [f32] {
        let kept = self.early.iter().find(|(kept, _)| *kept == id);
        kept.map_or_else(|| self.vector(program, id), |(_, values)| values)
    }

    /// The bytes of a weight of a resident group, unless it stays on disk.
    fn bytes_of(&self, weight: &Weight) -> Option<&[u8]> {
        let resident = self.groups[weight.group].as_ref().expect("ops run on resident groups");
        resident.offsets[weight.index].map(|offset| &resident.memory.as_slice()[offset..][..weight.bytes])
    }
}

/// Some rows of a weight.
fn matrix<'a>(weight: &Weight, rows: usize, bytes: &'a [u8]) -> Matrix<'a> {
    Matrix { dtype: weight.dtype, columns: weight.columns, rows, bytes }
}

/// Where the weights of a group lie in its memory, none of those that stay on disk, and how many bytes that takes.
fn places(program: &Program, group: usize, placement: Placement) -> (Vec<Option<usize>>, usize) {
    let stays = |id: WeightId| match placement {
        Placement::Pinned | Placement::Ring => false,
        Placement::Disk => program[id].is_matrix,
        Placement::Mixture => program.experts(group).any(|(expert, _)| expert == id),
    };
    let mut bytes = 0;
    let place = |id: &WeightId| {
        (!stays(*id)).then(|| {
            let offset: usize = bytes;
            bytes = offset.saturating_add(program[*id].bytes.next_multiple_of(WEIGHT_ALIGNMENT));
            offset
        })
    };
    (program.groups[group].weights.iter().map(place).collect(), bytes)
}

/// Bytes that a group takes in memory.
pub fn held_bytes(program: &Program, group: usize, placement: Placement) -> u64 {
    places(program, group, placement).1 as u64
}
