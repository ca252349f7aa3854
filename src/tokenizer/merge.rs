//! Merging neighbours, the best pair first, until none is left to merge: what SPM and BPE share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// The id of a symbol that is no token.
pub const NO_TOKEN: u32 = u32::MAX;

/// A pair that may merge.
pub struct Merge {
    /// Lower merges first; among equals the leftmost does.
    pub priority: u32,
    /// The token that the pair becomes.
    pub id: u32,
}

/// A part of the text, linked to its neighbours. It ends where the next one starts.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    id: u32,
    previous: u32,
    next: u32,
}

/// The symbols of a text and the queue of pairs; kept from text to text for its memory.
///
/// The queue holds a pair as its priority and its left symbol. An entry is never removed when its
/// pair goes; when it comes up, the pair that is there then is looked up and merged if its priority
/// is the same, which is right whatever pair was meant at first. Each pair enters when it arises, so
/// n symbols make at most 3 n entries, and the time is O(n log n).
#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<u64>>,
    /// Entries made so far, the measure of the work.
    pub entries: usize,
}

impl Merger {
    /// Starts a text.
    pub fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Adds a symbol that starts at `start`, in order.
    pub fn push(&mut self, start: usize, id: u32) {
        let number = self.symbols.len() as u32;
        self.symbols.push(Symbol { start: start as u32, id, previous: number.wrapping_sub(1), next: number + 1 });
    }

    /// Merges all that can be in a text of `length` bytes. `rule` says for two neighbours, given the
    /// range of both together and their ids, whether they merge.
    pub fn run(&mut self, length: usize, rule: impl Fn(Range<usize>, u32, u32) -> Option<Merge>) {
        self.push(length, NO_TOKEN);
        let mut entries = std::mem::take(&mut self.queue).into_vec();
        entries.clear();
        let pairs = 0..self.symbols.len() as u32;
        entries.extend(pairs.filter_map(|left| self.pair(left, &rule)).map(|(_, entry)| Reverse(entry)));
        self.entries += entries.len();
        self.queue = entries.into();
        while let Some(Reverse(entry)) = self.queue.pop() {
            let left = entry as u32;
            match self.pair(left, &rule) {
                Some((merge, current)) if current == entry => self.join(left, merge.id, &rule),
                _ => continue,
            }
        }
    }

    /// The symbols that are left: their ranges and ids.
    pub fn symbols(&self) -> impl Iterator<Item = (Range<usize>, u32)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let symbol = self.symbols[at];
            let next = *self.symbols.get(symbol.next as usize)?;
            at = symbol.next as usize;
            Some((symbol.start as usize..next.start as usize, symbol.id))
        })
    }

    /// How the pair that starts with symbol `left` merges, and its entry for the queue.
    fn pair(&self, left: u32, rule: &impl Fn(Range<usize>, u32, u32) -> Option<Merge>) -> Option<(Merge, u64)> {
        let first = self.symbols.get(left as usize)?;
        let second = self.symbols.get(first.next as usize)?;
        let end = self.symbols.get(second.next as usize)?.start;
        let merge = rule(first.start as usize..end as usize, first.id, second.id)?;
        let entry = u64::from(merge.priority) << 32 | u64::from(left);
        Some((merge, entry))
    }

    /// Makes symbol `left` and its right neighbour one, and queues the pairs that this makes.
    fn join(&mut self, left: u32, id: u32, rule: &impl Fn(Range<usize>, u32, u32) -> Option<Merge>) {
        let right = self.symbols[left as usize].next as usize;
        let next = self.symbols[right].next;
        // A symbol that is gone has no neighbours, so an entry that still names it finds no pair.
        self.symbols[right].next = u32::MAX;
        self.symbols[left as usize].next = next;
        self.symbols[left as usize].id = id;
        self.symbols[next as usize].previous = left;
        let previous = self.symbols[left as usize].previous;
        for start in [previous, left] {
            if let Some((_, entry)) = self.pair(start, rule) {
                self.queue.push(Reverse(entry));
                self.entries += 1;
            }
        }
    }
}
