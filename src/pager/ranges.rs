//! The bytes of a group as ranges of the source, each fit for one HTTP request.

use crate::program::{Group, Program};

/// Bytes of one request at most: large enough that its latency is small beside its transfer.
pub const RANGE_BYTES_MAX: u64 = 16 << 20;

/// Bytes between two tensors that are fetched along rather than costing a request of their own.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Consecutive bytes of one file part, needed by one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// Number of the group.
    pub group: usize,
    /// Number of the part; 0 unless the model is split.
    pub part: u16,
    /// Bytes from the beginning of the part.
    pub offset: u64,
    /// Bytes, 1 to [`RANGE_BYTES_MAX`].
    pub length: u64,
}

/// Ranges that cover the weights of `group`, in file order: neighbours joined, none above the maximum.
pub fn group_ranges(program: &Program, number: usize, group: &Group) -> Vec<SourceRange> {
    let mut extents: Vec<(u16, u64, u64)> = group
        .weights
        .iter()
        .map(|id| &program[*id])
        .map(|w| (w.part, w.file_offset, w.file_offset + w.bytes as u64))
        .collect();
    extents.sort_unstable();
    let mut joined: Vec<(u16, u64, u64)> = Vec::new();
    for (part, start, end) in extents {
        match joined.last_mut() {
            Some(last) if last.0 == part && start <= last.2 + GAP_BYTES_MAX => last.2 = last.2.max(end),
            _ => joined.push((part, start, end)),
        }
    }
    let split = |(part, start, end): (u16, u64, u64)| {
        let starts = (start..end).step_by(RANGE_BYTES_MAX as usize);
        starts.map(move |offset| SourceRange { group: number, part, offset, length: RANGE_BYTES_MAX.min(end - offset) })
    };
    joined.into_iter().flat_map(split).collect()
}
