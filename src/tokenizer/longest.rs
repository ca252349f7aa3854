//! The vocabulary of RWKV: from left to right the longest token that the text goes on with.

use super::vocabulary::{Kind, Vocabulary};

/// Normal tokens in the order of their bytes.
#[derive(Debug)]
pub struct Longest(Vec<u32>);

impl Longest {
    pub fn new(vocabulary: &Vocabulary) -> Longest {
        let is_text = |id: &u32| vocabulary.kind(*id) == Kind::Normal && !vocabulary.bytes(*id).is_empty();
        let mut ids: Vec<u32> = (0..vocabulary.len() as u32).filter(is_text).collect();
        ids.sort_by_key(|id| vocabulary.bytes(*id));
        Longest(ids)
    }

    /// Appends the tokens of `text`. A byte that no token begins with is `unknown`.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, unknown: Option<u32>, out: &mut Vec<u32>) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let found = self.find(vocabulary, rest);
            out.extend(found.or(unknown));
            rest = &rest[found.map_or(1, |id| vocabulary.bytes(id).len())..];
        }
    }

    /// The longest token that `text` begins with: those that begin like it are fewer with every byte.
    fn find(&self, vocabulary: &Vocabulary, text: &[u8]) -> Option<u32> {
        let (mut alike, mut found) = (self.0.as_slice(), None);
        for (depth, byte) in text.iter().enumerate() {
            let next = |id: &u32| vocabulary.bytes(*id).get(depth).copied();
            alike = &alike[alike.partition_point(|id| next(id) < Some(*byte))..];
            alike = &alike[..alike.partition_point(|id| next(id) == Some(*byte))];
            // The shortest of them comes first.
            let Some(first) = alike.first() else { break };
            if vocabulary.bytes(*first).len() == depth + 1 {
                found = Some(*first);
            }
        }
        found
    }
}

/// Appends the bytes of a token that files write with escapes, as Python does.
pub fn unescape(token: &[u8], out: &mut Vec<u8>) {
    let mut rest = token.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or(0) as u8;
        out.extend(match rest.next() {
            Some(b't') => Some(b'\t'),
            Some(b'n') => Some(b'\n'),
            Some(b'r') => Some(b'\r'),
            Some(b'x') => Some(16 * digit(rest.next()) + digit(rest.next())),
            other => other,
        });
    }
}
