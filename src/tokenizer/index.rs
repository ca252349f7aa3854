//! A hash index over items that are stored elsewhere: it holds only their numbers, so a vocabulary
//! of hundreds of thousands of strings costs six bytes each beside its bytes.

/// Marks an empty slot.
const EMPTY: u32 = u32::MAX;

/// Open addressing with linear probing at a load of two thirds.
#[derive(Debug, Default)]
pub struct Index {
    slots: Vec<u32>,
}

impl Index {
    /// An index for up to `items` items.
    pub fn new(items: usize) -> Self {
        Index { slots: vec![EMPTY; items + items / 2 + 1] }
    }

    /// The item with this hash for which `equal` holds.
    pub fn find(&self, hash: u64, equal: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let item = self.slots[self.slot(hash, equal)];
        (item != EMPTY).then_some(item)
    }

    /// Adds `item` unless an equal one is there: the first of equal items stays.
    pub fn insert(&mut self, hash: u64, item: u32, equal: impl Fn(u32) -> bool) {
        let slot = self.slot(hash, equal);
        if self.slots[slot] == EMPTY {
            self.slots[slot] = item;
        }
    }

    /// The slot that holds the wanted item, or the empty one where it would be. There always is one:
    /// a third of the slots stays empty.
    fn slot(&self, hash: u64, equal: impl Fn(u32) -> bool) -> usize {
        let count = self.slots.len();
        let mut slot = (((hash >> 32) * count as u64) >> 32) as usize;
        while self.slots[slot] != EMPTY && !equal(self.slots[slot]) {
            slot = if slot + 1 == count { 0 } else { slot + 1 };
        }
        slot
    }
}

/// Hash of a byte string.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = mix(hash ^ u64::from_le_bytes(last));
    hash
}

/// Hash of two numbers.
pub fn hash_pair(left: u32, right: u32) -> u64 {
    mix(u64::from(left) << 32 | u64::from(right))
}

/// A bijection that spreads every bit over the upper half (the finaliser of MurmurHash3).
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}
