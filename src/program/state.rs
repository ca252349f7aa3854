//! What a sequence leaves behind for the tokens after it.

/// A state of [`super::Program::states`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateId(pub u16);

/// One layer's state, by its kind. Only keys and values can be cut anywhere: the others are of one size and hold the
/// whole past, so that going back takes a copy of what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys and values of every position, so many of each a token, in f16.
    Kv {
        /// Values of all heads' keys together, for one token.
        key_width: usize,
        /// Values of all heads' values together, for one token.
        value_width: usize,
    },
    /// The last `taps` inputs of a short convolution, `width` values each, the oldest first, in f32.
    Conv {
        /// Values that are convolved, each for itself.
        width: usize,
        /// Tokens before the present one: one less than the kernel has.
        taps: usize,
    },
    /// A matrix for each of `heads`, `[head][row][column]`, in f32.
    Recurrent {
        /// Matrices.
        heads: usize,
        /// Rows of each: values of a head's input and output.
        rows: usize,
        /// Columns of each: values of a head's key and query.
        columns: usize,
    },
}

impl State {
    /// Widths of keys and values, in values per token; other states have none.
    pub fn kv_widths(&self) -> (usize, usize) {
        match *self {
            State::Kv { key_width, value_width } => (key_width, value_width),
            State::Conv { .. } | State::Recurrent { .. } => (0, 0),
        }
    }

    /// Values of a state that holds the whole past; zero for keys and values, which grow with the sequence.
    pub fn fixed_values(&self) -> usize {
        match *self {
            State::Kv { .. } => 0,
            State::Conv { width, taps } => width.saturating_mul(taps),
            State::Recurrent { heads, rows, columns } => heads.saturating_mul(rows).saturating_mul(columns),
        }
    }

    /// Bytes for a sequence of up to `context` positions, in 64 bits.
    pub fn bytes(&self, context: usize) -> u64 {
        match *self {
            State::Kv { key_width, value_width } => (key_width as u64 + value_width as u64) * context as u64 * 2,
            State::Conv { .. } | State::Recurrent { .. } => 4 * self.fixed_values() as u64,
        }
    }
}
