//! What a sequence leaves behind for the tokens after it.

/// A state of [`super::Program::states`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateId(pub u16);

/// One layer's state, by its kind. Only keys and values can be cut anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys and values of every position, so many of each a token.
    Kv { key_width: usize, value_width: usize },
}

impl State {
    /// Widths of keys and values, in values per token.
    pub fn kv_widths(&self) -> (usize, usize) {
        match *self {
            State::Kv { key_width, value_width } => (key_width, value_width),
        }
    }

    /// Bytes for a sequence of up to `context` positions, in 64 bits: keys and values are f16.
    pub fn bytes(&self, context: usize) -> u64 {
        match *self {
            State::Kv { key_width, value_width } => (key_width as u64 + value_width as u64) * context as u64 * 2,
        }
    }
}
