//! The tokens: what bytes each stands for, and which token stands for given bytes.

use super::index::{Index, hash_bytes};

/// Longest token that text can turn into. The longest of real vocabularies have 128 to 256 bytes;
/// the bound keeps the cost of one look-up constant.
const INDEXED_BYTES_MAX: usize = 1024;

/// What a token is for; the numbers are those of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Normal = 1,
    /// Stands for what no token stands for.
    Unknown = 2,
    /// Structure that is no text, such as the start of a message.
    Control = 3,
    /// Text that is never cut or merged.
    UserDefined = 4,
    /// Never used by the model.
    Unused = 5,
    /// One byte, for what no other token stands for.
    Byte = 6,
}

impl Kind {
    /// The kind for a number of the file. Numbers without a meaning give a token without a use.
    pub fn from_number(number: i32) -> Kind {
        match number {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            6 => Kind::Byte,
            _ => Kind::Unused,
        }
    }
}

/// All tokens, in two allocations beside their index.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// What every token stands for, one after the other.
    bytes: Vec<u8>,
    /// End of each token in `bytes`.
    ends: Vec<u32>,
    kinds: Vec<Kind>,
    /// Normal tokens by their bytes.
    index: Index,
    indexed_bytes_max: usize,
}

impl Vocabulary {
    /// Room for `tokens` tokens of together `bytes` bytes.
    pub fn with_capacity(tokens: usize, bytes: usize) -> Self {
        Vocabulary {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(tokens),
            kinds: Vec::with_capacity(tokens),
            index: Index::new(tokens),
            indexed_bytes_max: 0,
        }
    }

    /// Adds the next token. `write` appends the bytes that it stands for; those must not be more than
    /// the capacity asked for. Text turns into the token only if it is `indexed`.
    pub fn push(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (id, start) = (self.len() as u32, self.bytes.len());
        let indexed = write(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
        self.kinds.push(kind);
        let length = self.bytes.len() - start;
        if indexed && (1..=INDEXED_BYTES_MAX).contains(&length) {
            let (bytes, ends) = (&self.bytes, &self.ends);
            let token = &bytes[start..];
            self.index.insert(hash_bytes(token), id, |other| slice(bytes, ends, other) == token);
            self.indexed_bytes_max = self.indexed_bytes_max.max(length);
        }
    }

    /// Bytes of the longest token that text can turn into.
    pub fn indexed_bytes_max(&self) -> usize {
        self.indexed_bytes_max
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// What token `id`, which must exist, stands for; for a control token its name.
    pub fn bytes(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, id)
    }

    /// Kind of token `id`, which must exist.
    pub fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    /// The normal token that stands for exactly these bytes.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.indexed_bytes_max {
            return None;
        }
        self.index.find(hash_bytes(bytes), |id| self.bytes(id) == bytes)
    }
}

/// Token `id` of `bytes`.
fn slice<'a>(bytes: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] as usize };
    &bytes[start..ends[id as usize] as usize]
}
