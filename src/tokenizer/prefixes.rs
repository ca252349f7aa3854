//! Which tokens a text begins with.

use super::vocabulary::{Kind, Vocabulary};

/// Tokens that text can turn into, ordered by their bytes.
#[derive(Debug)]
pub struct Prefixes {
    ordered: Vec<u32>,
    /// Where in `ordered` those that start with a byte begin; one more than there are bytes.
    starts: Box<[u32; 257]>,
}

impl Prefixes {
    /// Those of a vocabulary that stand for text.
    pub fn new(vocabulary: &Vocabulary) -> Prefixes {
        let is_text = |id: &u32| {
            matches!(vocabulary.kind(*id), Kind::Normal | Kind::UserDefined | Kind::Unused)
                && !vocabulary.bytes(*id).is_empty()
        };
        let mut ordered: Vec<u32> = (0..vocabulary.len() as u32).filter(is_text).collect();
        // Of equal tokens the last one is meant.
        ordered.sort_unstable_by_key(|id| (vocabulary.bytes(*id), *id));
        let mut starts = Box::new([0; 257]);
        for byte in 0..=256 {
            starts[byte] = ordered.partition_point(|id| usize::from(vocabulary.bytes(*id)[0]) < byte) as u32;
        }
        Prefixes { ordered, starts }
    }

    /// Shows `visit` every token that `text` starts with, and its length, from the shortest on.
    pub fn of(&self, vocabulary: &Vocabulary, text: &[u8], mut visit: impl FnMut(u32, usize)) {
        let Some(&first) = text.first() else { return };
        let of_first = self.starts[usize::from(first)] as usize..self.starts[usize::from(first) + 1] as usize;
        let mut range = &self.ordered[of_first];
        for depth in 1..=text.len() {
            // Those that end here come first.
            let ended = range.partition_point(|&id| vocabulary.bytes(id).len() == depth);
            if let Some(&id) = range[..ended].last() {
                visit(id, depth);
            }
            range = &range[ended..];
            let Some(&byte) = text.get(depth).filter(|_| !range.is_empty()) else { return };
            let start = range.partition_point(|&id| vocabulary.bytes(id)[depth] < byte);
            let end = range.partition_point(|&id| vocabulary.bytes(id)[depth] <= byte);
            range = &range[start..end];
        }
    }
}
