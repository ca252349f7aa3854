//! What a device tells from outside, natively on other threads: that it is gone, what it refused, and what it had
//! no memory for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The health of a device.
pub struct Health {
    is_lost: AtomicBool,
    errors: AtomicU64,
    /// Bytes of buffers beside which there was no room for another; `u64::MAX` while there was.
    room: AtomicU64,
    /// Buffers of which it is not known yet.
    awaited: AtomicU64,
    /// How often that was taken notice of. What is told of buffers from before does not count any more.
    refusals: AtomicU64,
    /// Errors that follow from refused buffers may still be on their way.
    is_pardoned: AtomicBool,
}

/// A buffer of which it is not known whether there was memory for it.
#[derive(Clone, Copy)]
pub struct Made {
    held: u64,
    refusals: u64,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            is_lost: AtomicBool::default(),
            errors: AtomicU64::default(),
            room: AtomicU64::new(u64::MAX),
            awaited: AtomicU64::default(),
            refusals: AtomicU64::default(),
            is_pardoned: AtomicBool::default(),
        }
    }
}

impl Health {
    /// The device is gone.
    pub fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// The device refused something that it was told to do.
    pub fn err(&self) {
        self.errors.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the device is gone or has refused something. Having no memory is no such thing, nor what comes of
    /// using a buffer that there was none for.
    pub fn is_lost(&self) -> bool {
        let has_room = self.room.load(Ordering::Acquire) == u64::MAX;
        let counts = has_room && !self.is_pardoned.load(Ordering::Acquire);
        self.is_lost.load(Ordering::Acquire) || (counts && self.errors.load(Ordering::Acquire) > 0)
    }

    /// A buffer is made, beside `held` bytes of others: what to tell [`Health::made`] of it.
    pub fn make(&self, held: u64) -> Made {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Made { held, refusals: self.refusals.load(Ordering::Acquire) }
    }

    /// Whether there was memory for it is known now.
    pub fn made(&self, Made { held, refusals }: Made, is_refused: bool) {
        if is_refused && self.refusals.load(Ordering::Acquire) == refusals {
            self.room.fetch_min(held, Ordering::AcqRel);
        }
        self.awaited.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether it is known of every buffer.
    pub fn is_sure(&self) -> bool {
        self.awaited.load(Ordering::Acquire) == 0
    }

    /// Takes notice of that. Errors do not count until the device is trusted again.
    pub fn take_refusal(&self) -> Option<u64> {
        let room = self.room.swap(u64::MAX, Ordering::AcqRel);
        (room < u64::MAX).then(|| {
            self.refusals.fetch_add(1, Ordering::AcqRel);
            self.is_pardoned.store(true, Ordering::Release);
            room
        })
    }

    /// The device has shown that it computes: what followed from a refusal has been told, and from now on errors
    /// count again.
    pub fn trust(&self) {
        if self.is_pardoned.swap(false, Ordering::AcqRel) {
            self.errors.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_45_what_follows_from_a_refusal_is_no_loss_and_counts_once() {
        let health = Health::default();
        let [first, second, late] = [300, 200, 400].map(|held| health.make(held));
        health.made(first, true);
        health.made(second, true);
        health.err();
        assert!(!health.is_lost());
        assert_eq!(health.take_refusal(), Some(200));
        // Told late, of a buffer that was made before.
        assert!(!health.is_sure());
        health.made(late, true);
        health.err();
        assert_eq!((health.take_refusal(), health.is_lost(), health.is_sure()), (None, false, true));
        health.trust();
        assert!(!health.is_lost());
        health.err();
        assert!(health.is_lost());
    }
}
