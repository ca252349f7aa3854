//! Weights on their way from memory while others are multiplied. What a product reads is in no cache, and a processor
//! fetches ahead by itself only as far as a page of memory; WebAssembly has no instruction for it. So a byte of every
//! cache line is read some time before the line is needed, and nothing waits for it.

use std::hint::black_box;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The reader of bytes that nobody needs yet.
pub struct Ahead<'a> {
    bytes: &'a [u8],
    at: usize,
    lines: usize,
    seen: u8,
}

impl<'a> Ahead<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Ahead { bytes, at: 0, lines: 0, seen: 0 }
    }

    /// Begins at byte `at`, with as many lines at a time.
    #[inline(always)]
    pub fn begin(&mut self, at: usize, lines: usize) {
        (self.at, self.lines) = (at, lines);
    }

    /// Reads a byte of each of the next lines, if there are so many.
    #[inline(always)]
    pub fn read(&mut self) {
        let end = self.at + self.lines * LINE;
        if end <= self.bytes.len() {
            for line in 0..self.lines {
                // SAFETY: the byte is one of the slice. A read that is not volatile would be left out.
                self.seen ^= unsafe { self.bytes.as_ptr().add(self.at + line * LINE).read_volatile() };
            }
        }
        self.at = end;
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        // An engine might leave out reads whose values are of no use.
        black_box(self.seen);
    }
}

/// The lines of so many bytes.
pub const fn lines(bytes: usize) -> usize {
    bytes.div_ceil(LINE)
}

/// How many blocks of so many pairs of groups are multiplied between two reads: 256 values' worth.
pub const fn blocks_between(pairs: usize) -> usize {
    8usize.div_ceil(pairs)
}
