//! Aligned memory for weights.

use crate::error::{ChordError, ErrorCode, Result};

/// One cache line; the alignment of weight memory.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

// SAFETY: a Line is 64 plain bytes without padding; every bit pattern is valid.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above, and it is Copy and holds no references.
unsafe impl bytemuck::Pod for Line {}

/// Bytes on a 64-byte boundary. Allocation fails with an error instead of aborting.
#[derive(Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBytes {
    /// `length` zero bytes.
    pub fn zeroed(length: usize) -> Result<AlignedBytes> {
        let mut lines = Vec::new();
        let count = length.div_ceil(64);
        lines.try_reserve_exact(count).map_err(|_| out_of_memory(length))?;
        lines.resize(count, Line([0; 64]));
        Ok(AlignedBytes { lines, length })
    }

    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }

    /// Changes the length within what was allocated; the bytes hold anything. False if there is no room.
    pub fn reuse(&mut self, length: usize) -> bool {
        let fits = length <= self.allocated();
        if fits {
            self.length = length;
        }
        fits
    }

    /// Bytes that were allocated.
    pub fn allocated(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

/// A zeroed vector, or the error that memory ran out.
pub fn zeroed<T: bytemuck::Zeroable + Clone>(length: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(length).map_err(|_| out_of_memory(length.saturating_mul(size_of::<T>())))?;
    vector.resize(length, T::zeroed());
    Ok(vector)
}

/// Makes a vector at least so long, with zeros behind what it holds.
pub fn grow<T: bytemuck::Zeroable + Clone>(vector: &mut Vec<T>, length: usize) -> Result<()> {
    let more = length.saturating_sub(vector.len());
    vector.try_reserve_exact(more).map_err(|_| out_of_memory(more.saturating_mul(size_of::<T>())))?;
    vector.resize(vector.len() + more, T::zeroed());
    Ok(())
}

fn out_of_memory(bytes: usize) -> ChordError {
    let text = format!(
        "memory for {bytes} more bytes is not to be had; a smaller contextLength or a more strongly quantised file needs less"
    );
    ChordError::new(ErrorCode::OutOfMemory, text).with("bytes", bytes)
}
