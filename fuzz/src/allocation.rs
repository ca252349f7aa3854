//! A global allocator that knows how much each thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes held by one thread at which the process is ended: no input needs nearly as much, and the
/// machine must not suffer from one that does.
const BYTES_MAX: usize = 1 << 30;

struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Counts a new block.
fn count(bytes: usize) {
    let now = NOW.get().saturating_add(bytes);
    if now > BYTES_MAX {
        // Given back so that writing the message may allocate.
        NOW.set(0);
        crate::runner::die(&format!("{now} bytes of memory on one thread"));
    }
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: every call goes to the system allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, which may hold at most `bytes_max` bytes more than are held now. Panics if it holds
/// more. Growing a block counts the old and the new one.
pub fn within<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    PEAK.set(before);
    let outcome = work();
    let peak = PEAK.get().saturating_sub(before);
    assert!(peak <= bytes_max, "{peak} bytes of memory, more than {bytes_max}");
    outcome
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn what_fits_the_bound_passes() {
        assert_eq!(within(1000, || vec![1u8; 1000].len()), 1000);
    }

    #[test]
    #[should_panic(expected = "more than 1500")]
    fn growing_counts_the_old_and_the_new_block() {
        within(1500, || {
            let mut bytes = std::hint::black_box(vec![1u8; 600]);
            bytes.reserve_exact(400);
            std::hint::black_box(bytes).len()
        });
    }
}
