//! SentencePiece's compiled table of what characters become before a text is cut: a double array with the replaced
//! sequences, <https://github.com/google/sentencepiece/blob/master/src/normalizer.h>, and the replacements behind it.

/// A table, or none: then everything stays as it is.
#[derive(Debug, Default)]
pub struct Charsmap {
    nodes: Vec<u32>,
    /// Replacements, each ended by a zero.
    texts: Vec<u8>,
}

impl Charsmap {
    /// Reads the table of a file. None if it ends before the double array does.
    pub fn new(bytes: &[u8]) -> Option<Charsmap> {
        if bytes.is_empty() {
            return Some(Charsmap::default());
        }
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (nodes, texts) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let nodes = nodes.chunks_exact(4).map(|node| u32::from_le_bytes([node[0], node[1], node[2], node[3]]));
        Some(Charsmap { nodes: nodes.collect(), texts: texts.to_vec() })
    }

    /// What a text becomes, piece by piece.
    pub fn pieces<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?.len_utf8();
            let (piece, taken) = match self.longest(rest.as_bytes()) {
                // A sequence that does not end between characters cannot be one of a text's.
                Some((replacement, taken)) if rest.is_char_boundary(taken) => (replacement, taken),
                _ => (&rest[..first], first),
            };
            rest = &rest[taken..];
            Some(piece)
        })
    }

    /// The replacement of the longest sequence that `text` starts with, and the sequence's bytes.
    fn longest(&self, text: &[u8]) -> Option<(&str, usize)> {
        let mut found = None;
        let mut at = base(*self.nodes.first()?);
        for (index, &byte) in text.iter().enumerate().take_while(|(_, byte)| **byte != 0) {
            at ^= usize::from(byte);
            let Some(&node) = self.nodes.get(at) else { break };
            if node & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            at ^= base(node);
            if node >> 8 & 1 == 1 {
                // The leaf has where the replacement begins.
                let leaf = self.nodes.get(at).map(|leaf| leaf & !(1 << 31));
                found = leaf.and_then(|text| Some((self.text(text as usize)?, index + 1))).or(found);
            }
        }
        found
    }

    fn text(&self, at: usize) -> Option<&str> {
        let text = self.texts.get(at..)?;
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        std::str::from_utf8(&text[..end]).ok()
    }
}

/// What the numbers of a node's children are combined with.
fn base(node: u32) -> usize {
    ((node >> 10) << ((node & 1 << 9) >> 6)) as usize
}
