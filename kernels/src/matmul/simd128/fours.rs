//! Which of two equivalent kernels to take where bytes can be multiplied.
//!
//! Processors before AVX-VNNI multiply bytes in pairs: there the dot product of four bytes is several
//! instructions, and sums are better kept in 16 bits. Others have one instruction for all. What the
//! engine does shows in a case whose result is left open: pairs saturate at 16 bits.

use crate::arch::*;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

const UNKNOWN: u8 = 0;
const PAIRS: u8 = 1;
const FOURS: u8 = 2;

/// What is known. Kernels give the same results, so nothing depends on the order of loads and stores.
static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether dot products of four bytes are the quicker way.
pub fn preferred() -> bool {
    if KNOWN.load(Relaxed) == UNKNOWN {
        prefer(one_instruction());
    }
    KNOWN.load(Relaxed) == FOURS
}

/// Takes the one or the other from now on.
pub fn prefer(fours: bool) {
    KNOWN.store(if fours { FOURS } else { PAIRS }, Relaxed);
}

/// 127 times the byte 0xff, four times: −508 if that is −1, 129540 if it is 255, and less where a pair
/// saturates.
fn one_instruction() -> bool {
    let sums = i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(127), u8x16_splat(0xff), i32x4_splat(0));
    i32x4_extract_lane::<0>(sums) != 2 * i32::from(i16::MAX)
}
