//! Weights on disk: what reads them, and the memory through which a few rows at a time go into products.

use super::matmul;
use crate::program::Weight;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// Bytes that are read from disk at once, unless more are worth it, and those of them that are repacked and
/// multiplied at once.
pub const READ_BYTES: u64 = 512 << 10;
const PACKED_BYTES: u64 = 64 << 10;

/// Memory for products with matrices on disk at least, unless their rows are very long.
pub const DISK_STAGE_BYTES: u64 = READ_BYTES + PACKED_BYTES;

/// Reads bytes of a file part, from an offset on, into all of a slice. False if it cannot.
pub type DiskReader = Rc<dyn Fn(u16, u64, &mut [u8]) -> bool>;

/// The disk.
pub struct Disk {
    /// What reads from it.
    pub reader: Option<DiskReader>,
    /// Bytes to read at once.
    pub read_bytes: u64,
    /// Something could not be read.
    failed: Cell<bool>,
}

impl Disk {
    /// No disk yet.
    pub fn new() -> Disk {
        Disk { reader: None, read_bytes: READ_BYTES, failed: Cell::new(false) }
    }

    /// Whether something could not be read since this was asked last.
    pub fn take_failure(&self) -> bool {
        self.failed.take()
    }
}

/// Rows of a matrix that were read from disk.
#[derive(Default)]
pub struct Stage {
    file: Vec<u8>,
    packed: Vec<u8>,
}

impl Stage {
    /// Reads rows of a weight; as they are in the file. False if that failed, and they mean nothing.
    fn read(&mut self, disk: &Disk, weight: &Weight, rows: Range<usize>) -> bool {
        let row_bytes = weight.bytes / weight.rows;
        let bytes = rows.len() * row_bytes;
        self.file.resize(self.file.len().max(bytes), 0);
        let offset = weight.file_offset + (rows.start * row_bytes) as u64;
        let is_read = disk.reader.as_ref().is_some_and(|read| read(weight.part, offset, &mut self.file[..bytes]));
        if !is_read {
            disk.failed.set(true);
        }
        is_read
    }

    /// One row of a weight, as it is in the file.
    pub fn row(&mut self, disk: &Disk, weight: &Weight, row: usize) -> &[u8] {
        self.read(disk, weight, row..row + 1);
        &self.file[..weight.bytes / weight.rows]
    }

    /// Calls `visit(rows, bytes)` for rows of a weight, a few after the other, repacked for the kernels. The first are
    /// those from a multiple of 8 on, and the last end with one, or with the matrix.
    pub fn slices(
        &mut self,
        disk: &Disk,
        weight: &Weight,
        rows: Range<usize>,
        mut visit: impl FnMut(Range<usize>, &[u8]),
    ) {
        let row_bytes = weight.bytes / weight.rows;
        let aligned = rows.start / matmul::GROUP_ROWS * matmul::GROUP_ROWS;
        let last = rows.end.next_multiple_of(matmul::GROUP_ROWS).min(weight.rows);
        // Many rows for a read, few for the processor's nearest cache.
        for read in pieces(aligned..last, disk.read_bytes, row_bytes) {
            self.read(disk, weight, read.clone());
            for piece in pieces(read.clone(), PACKED_BYTES, row_bytes) {
                let file = &self.file[(piece.start - read.start) * row_bytes..(piece.end - read.start) * row_bytes];
                if !matmul::wants_quantised(weight.dtype) {
                    visit(piece, file);
                    continue;
                }
                self.packed.resize(self.packed.len().max(file.len()), 0);
                let packed = &mut self.packed[..file.len()];
                pack(weight, file, packed);
                visit(piece, packed);
            }
        }
    }

    /// Brings rows of a weight into memory, repacked as a matrix of their own. False if they could not be read.
    pub fn fill(&mut self, disk: &Disk, weight: &Weight, rows: Range<usize>, bytes: &mut [u8]) -> bool {
        let row_bytes = weight.bytes / weight.rows;
        pieces(rows.clone(), disk.read_bytes, row_bytes).all(|piece| {
            let to = (piece.start - rows.start) * row_bytes..(piece.end - rows.start) * row_bytes;
            let is_read = self.read(disk, weight, piece);
            pack(weight, &self.file[..to.len()], &mut bytes[to]);
            is_read
        })
    }
}

/// Rows in runs of whole groups, of so many bytes at most unless a group has more.
fn pieces(rows: Range<usize>, bytes: u64, row_bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let groups = (bytes as usize / (matmul::GROUP_ROWS * row_bytes).max(1)).max(1);
    let step = groups * matmul::GROUP_ROWS;
    rows.clone().step_by(step).map(move |start| start..rows.end.min(start + step))
}

/// Repacks rows of a weight, of which the first begins a group.
fn pack(weight: &Weight, file: &[u8], packed: &mut [u8]) {
    let unit = matmul::repack_unit(weight.dtype, weight.columns);
    let whole = if matmul::wants_quantised(weight.dtype) { file.len() / unit * unit } else { 0 };
    matmul::interleave(weight.dtype, weight.columns, &file[..whole], &mut packed[..whole]);
    packed[whole..].copy_from_slice(&file[whole..]);
}
