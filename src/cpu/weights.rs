//! Weights: a group's tensors lie in one allocation, filled by pieces of the file in any order. Matrices
//! of a group may also stay on disk; then products read them from there, a few rows at a time.

use super::matmul::{self, Matrix};
use super::memory::AlignedBytes;
use crate::error::Result;
use crate::pager::{Intervals, Placement};
use crate::program::{Program, WEIGHT_ALIGNMENT, Weight, WeightId};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// Bytes of rows that are repacked on the way to their place: they stay in the processor's cache.
const STAGE_BYTES: usize = 256 << 10;

/// Bytes that are read from disk at once, unless more are worth it, and those of them that are repacked and
/// multiplied at once.
pub const READ_BYTES: u64 = 512 << 10;
const PACKED_BYTES: u64 = 64 << 10;

/// Memory for products with matrices on disk at least, unless their rows are very long.
pub const DISK_STAGE_BYTES: u64 = READ_BYTES + PACKED_BYTES;

/// Reads bytes of a file part, from an offset on, into all of a slice. False if it cannot.
pub type DiskReader = Rc<dyn Fn(u16, u64, &mut [u8]) -> bool>;

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

/// Rows of a matrix that were read from disk.
#[derive(Default)]
pub struct Stage {
    file: Vec<u8>,
    packed: Vec<u8>,
}

/// The groups that can be computed with.
pub struct Weights {
    groups: Vec<Option<Resident>>,
    /// Memory of groups that left, for those that come.
    spare: Vec<AlignedBytes>,
    scratch: Vec<u8>,
    disk: Option<DiskReader>,
    /// Vectors that came before their group.
    early: Vec<(WeightId, Vec<f32>)>,
    /// Bytes to read from it at once.
    read_bytes: u64,
    /// A product could not read a matrix.
    failed: Cell<bool>,
}

impl Weights {
    /// No weights yet.
    pub fn new(program: &Program) -> Weights {
        Weights {
            groups: program.groups.iter().map(|_| None).collect(),
            spare: Vec::new(),
            scratch: Vec::new(),
            disk: None,
            early: Vec::new(),
            read_bytes: READ_BYTES,
            failed: Cell::new(false),
        }
    }

    /// Sets what reads the matrices that stay on disk.
    pub fn set_disk(&mut self, reader: DiskReader) {
        self.disk = Some(reader);
    }

    /// Sets how many bytes are read from disk at once.
    pub fn set_read_bytes(&mut self, bytes: u64) {
        self.read_bytes = bytes;
    }

    /// Reads from disk.
    fn read_disk(&self, part: u16, offset: u64, bytes: &mut [u8]) -> bool {
        self.disk.as_ref().is_some_and(|read| read(part, offset, bytes))
    }

    /// Whether a product could not read a matrix since this was asked last: its values mean nothing.
    pub fn take_failure(&self) -> bool {
        self.failed.take()
    }

    /// Gives a group memory, if it has none. Its bytes come by [`Weights::fill`].
    pub fn allocate(&mut self, program: &Program, group: usize, placement: Placement) -> Result<()> {
        if self.groups[group].is_some() {
            return Ok(());
        }
        let weights = || program.groups[group].weights.iter().map(|id| &program[*id]);
        let (offsets, bytes) = match placement {
            Placement::Disk => vectors(weights()),
            _ => (weights().map(|w| Some(w.group_offset)).collect(), program.groups[group].bytes),
        };
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
        resident.chain(&self.spare).map(|memory| memory.allocated() as u64).sum()
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
        let row_bytes = weight.bytes / weight.rows;
        // Whole groups of rows: many for a read, few for the processor's nearest cache.
        let groups =
            |bytes: u64| (bytes as usize / (matmul::GROUP_ROWS * row_bytes).max(1)).max(1) * matmul::GROUP_ROWS;
        let aligned = rows.start / matmul::GROUP_ROWS * matmul::GROUP_ROWS;
        let last = rows.end.next_multiple_of(matmul::GROUP_ROWS).min(weight.rows);
        for read in (aligned..last).step_by(groups(self.read_bytes)) {
            let read_end = last.min(read + groups(self.read_bytes));
            stage.read(self, weight, read..read_end, row_bytes);
            for start in (read..read_end).step_by(groups(PACKED_BYTES)) {
                let end = read_end.min(start + groups(PACKED_BYTES));
                let bytes = stage.repacked(weight, (start - read) * row_bytes..(end - read) * row_bytes);
                let (from, to) = (start.max(rows.start), end.min(rows.end));
                visit(&matrix(weight, end - start, bytes), from - start, to - from, from - rows.start);
            }
        }
    }

    /// One row of a matrix, dequantised.
    pub fn row(&self, program: &Program, id: WeightId, row: usize, stage: &mut Stage, out: &mut [f32]) {
        let weight = &program[id];
        match self.bytes_of(weight) {
            Some(bytes) => matmul::row(&matrix(weight, weight.rows, bytes), row, out),
            None => {
                let row_bytes = weight.bytes / weight.rows;
                stage.read(self, weight, row..row + 1, row_bytes);
                matmul::row(&matrix(weight, 1, &stage.file[..row_bytes]), 0, out);
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

impl Stage {
    /// Reads rows from disk.
    fn read(&mut self, weights: &Weights, weight: &Weight, rows: Range<usize>, row_bytes: usize) {
        let bytes = rows.len() * row_bytes;
        self.file.resize(self.file.len().max(bytes), 0);
        let offset = weight.file_offset + (rows.start * row_bytes) as u64;
        if !weights.read_disk(weight.part, offset, &mut self.file[..bytes]) {
            weights.failed.set(true);
        }
    }

    /// Bytes of whole rows that were read, repacked. The first row's number is a multiple of 8.
    fn repacked(&mut self, weight: &Weight, bytes: Range<usize>) -> &[u8] {
        let file = &self.file[bytes];
        if !matmul::wants_quantised(weight.dtype) {
            return file;
        }
        let unit = matmul::repack_unit(weight.dtype, weight.columns);
        let whole = file.len() / unit * unit;
        self.packed.resize(self.packed.len().max(file.len()), 0);
        let packed = &mut self.packed[..file.len()];
        matmul::interleave(weight.dtype, weight.columns, &file[..whole], &mut packed[..whole]);
        packed[whole..].copy_from_slice(&file[whole..]);
        packed
    }
}

/// Some rows of a weight.
fn matrix<'a>(weight: &Weight, rows: usize, bytes: &'a [u8]) -> Matrix<'a> {
    Matrix { dtype: weight.dtype, columns: weight.columns, rows, bytes }
}

/// Where vectors lie if only they are in memory, and how many bytes that takes.
fn vectors<'a>(weights: impl Iterator<Item = &'a Weight>) -> (Vec<Option<usize>>, usize) {
    let mut bytes = 0;
    let place = |weight: &Weight| {
        (!weight.is_matrix).then(|| {
            bytes += weight.bytes.next_multiple_of(WEIGHT_ALIGNMENT);
            bytes - weight.bytes.next_multiple_of(WEIGHT_ALIGNMENT)
        })
    };
    (weights.map(place).collect(), bytes)
}

/// Bytes that a group takes in memory if its matrices stay on disk.
pub fn vector_bytes(program: &Program, group: usize) -> u64 {
    vectors(program.groups[group].weights.iter().map(|id| &program[*id])).1 as u64
}
