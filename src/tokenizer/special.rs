//! Finding special tokens in text, in one pass.

use super::vocabulary::{Kind, Vocabulary};

/// Longest text by which a special token is found. Real ones have less than 100 bytes; the bound
/// keeps the search linear in the text.
const SPECIAL_BYTES_MAX: usize = 256;

/// The special tokens of a vocabulary, ordered by their text.
#[derive(Debug)]
pub struct Specials {
    /// Ids, ordered by the bytes of the token.
    ids: Vec<u32>,
    /// Whether some token starts with a byte.
    starts: Box<[bool; 256]>,
}

impl Specials {
    /// Collects the control, unknown and user-defined tokens.
    pub fn new(vocabulary: &Vocabulary) -> Self {
        let special = |&id: &u32| {
            let bytes = vocabulary.bytes(id);
            let kind = matches!(vocabulary.kind(id), Kind::Control | Kind::Unknown | Kind::UserDefined);
            kind && (1..=SPECIAL_BYTES_MAX).contains(&bytes.len()) && std::str::from_utf8(bytes).is_ok()
        };
        let mut ids: Vec<u32> = (0..vocabulary.len() as u32).filter(special).collect();
        ids.sort_unstable_by_key(|&id| (vocabulary.bytes(id), id));
        let mut starts = Box::new([false; 256]);
        for &id in &ids {
            starts[vocabulary.bytes(id)[0] as usize] = true;
        }
        Specials { ids, starts }
    }

    /// The ids of all, ordered by text.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The first special token in `text` from `from` on, the longest of those that start at the same
    /// place: where it starts and its id. Control and unknown tokens count only if `control`.
    pub fn find(&self, vocabulary: &Vocabulary, text: &[u8], from: usize, control: bool) -> Option<(usize, u32)> {
        let candidates = (from..text.len()).filter(|&at| self.starts[text[at] as usize]);
        candidates.filter_map(|at| Some((at, self.longest(vocabulary, &text[at..], control)?))).next()
    }

    /// The longest token that `text` starts with: the range of tokens that agree with the text so far
    /// is narrowed byte by byte.
    fn longest(&self, vocabulary: &Vocabulary, text: &[u8], control: bool) -> Option<u32> {
        let mut range = &self.ids[..];
        let mut found = None;
        for depth in 0..=text.len() {
            // The tokens that end here come first.
            let ended = range.partition_point(|&id| vocabulary.bytes(id).len() == depth);
            let wanted = |id: &&u32| control || vocabulary.kind(**id) == Kind::UserDefined;
            found = range[..ended].iter().find(wanted).copied().or(found);
            range = &range[ended..];
            let Some(&byte) = text.get(depth) else { break };
            let start = range.partition_point(|&id| vocabulary.bytes(id)[depth] < byte);
            let end = range.partition_point(|&id| vocabulary.bytes(id)[depth] <= byte);
            range = &range[start..end];
            if range.is_empty() {
                break;
            }
        }
        found
    }
}
