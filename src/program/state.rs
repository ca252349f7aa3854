//! What a sequence leaves behind for the tokens after it.

use chord_kernels::vector::q8_0;
use serde::{Deserialize, Serialize};

/// A state of [`super::Program::states`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateId(pub u16);

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum KvFormat {
    /// Half precision.
    #[default]
    #[serde(rename = "f16")]
    F16,
    /// Integers of 8 bits, of which each 32 share a scale in half precision: about half the memory.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvFormat {
    /// Values that share a scale, where there are scales.
    pub const BLOCK: usize = q8_0::BLOCK;

    /// Its name, as options and kernels have it.
    pub fn name(self) -> &'static str {
        match self {
            KvFormat::F16 => "f16",
            KvFormat::Q8_0 => "q8_0",
        }
    }

    /// Bytes of a row: a head's key or value at one position. Of integers the row has all, then their scales, filled up
    /// to a whole word.
    pub const fn row_bytes(self, dim: usize) -> usize {
        match self {
            KvFormat::F16 => 2 * dim,
            KvFormat::Q8_0 => q8_0::row_bytes(dim),
        }
    }
}

/// The shape of one layer's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Heads of keys, and as many of values.
    pub heads: usize,
    /// Values of a head of keys.
    pub key_dim: usize,
    /// Values of a head of values.
    pub value_dim: usize,
    /// How they are kept.
    pub format: KvFormat,
}

impl Kv {
    /// Keys and values in half precision.
    pub fn new(heads: usize, key_dim: usize, value_dim: usize) -> Kv {
        Kv { heads, key_dim, value_dim, format: KvFormat::F16 }
    }

    /// Bytes of a head's key at one position.
    pub fn key_bytes(self) -> usize {
        self.format.row_bytes(self.key_dim)
    }

    /// Bytes of a head's value at one position.
    pub fn value_bytes(self) -> usize {
        self.format.row_bytes(self.value_dim)
    }

    /// Bytes of all heads' keys and values at one position.
    pub fn position_bytes(self) -> usize {
        self.heads * (self.key_bytes() + self.value_bytes())
    }

    /// Whether its heads are made of whole blocks.
    pub fn fits(self, format: KvFormat) -> bool {
        match format {
            KvFormat::F16 => true,
            KvFormat::Q8_0 => [self.key_dim, self.value_dim].iter().all(|dim| dim.is_multiple_of(KvFormat::BLOCK)),
        }
    }
}

/// One layer's state, by its kind. Only keys and values can be cut anywhere: the others are of one size and hold the
/// whole past, so that going back takes a copy of what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys and values of every position.
    Kv(Kv),
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
            State::Kv(Kv { heads, key_dim, value_dim, .. }) => (heads * key_dim, heads * value_dim),
            State::Conv { .. } | State::Recurrent { .. } => (0, 0),
        }
    }

    /// Values of a state that holds the whole past; zero for keys and values, which grow with the sequence.
    pub fn fixed_values(&self) -> usize {
        match *self {
            State::Kv(_) => 0,
            State::Conv { width, taps } => width.saturating_mul(taps),
            State::Recurrent { heads, rows, columns } => heads.saturating_mul(rows).saturating_mul(columns),
        }
    }

    /// Bytes for a sequence of up to `context` positions, in 64 bits.
    pub fn bytes(&self, context: usize) -> u64 {
        match *self {
            State::Kv(kv) => (kv.position_bytes() as u64).saturating_mul(context as u64),
            State::Conv { .. } | State::Recurrent { .. } => 4 * self.fixed_values() as u64,
        }
    }
}
