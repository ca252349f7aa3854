//! What the first layer needs of the embedding's group, fetched ahead of the group: the table's rows of the
//! tokens that are about to be computed, and the vectors beside the table. So an answer begins with the first
//! layer, and the table itself can come last: where the head has a matrix of its own, the first token comes
//! before the table does.

use crate::op::{Op, Program, RESIDUAL, WeightId};
use crate::pager::{Intervals, SourceRange};
use crate::quant::{Dtype, dequantise_row};
use std::ops::Range;

/// A smaller table costs less than requests for its rows.
const TABLE_BYTES_MIN: usize = 1 << 20;

/// Pieces that are kept. A pass that needs more of them waits for the table.
const PIECES_MAX: usize = 256;

/// The pieces of one program's first group, until the group is there.
pub struct Ahead {
    table: WeightId,
    dtype: Dtype,
    scale: f32,
    /// By key.
    pieces: Vec<Piece>,
    /// Pieces that nobody fetches yet.
    wanted: Vec<SourceRange>,
    /// Pieces that are not complete.
    missing: Vec<Key>,
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Row(u32),
    Vector(u32),
}

struct Piece {
    key: Key,
    part: u16,
    start: u64,
    bytes: Vec<u8>,
    filled: Intervals,
}

impl Ahead {
    /// None for a program whose first group has more than an embedding and vectors, or a small table.
    pub fn new(program: &Program) -> Option<Ahead> {
        let [Op::Embed { table, dst: RESIDUAL, scale }] = *program.ops[0].as_slice() else { return None };
        let weight = |id: WeightId| &program.weights[id.0 as usize];
        let others = program.groups[0].weights.iter().filter(|id| **id != table);
        if weight(table).bytes < TABLE_BYTES_MIN || others.into_iter().any(|id| weight(*id).is_matrix) {
            return None;
        }
        let dtype = weight(table).dtype;
        Some(Ahead { table, dtype, scale, pieces: Vec::new(), wanted: Vec::new(), missing: Vec::new() })
    }

    /// Whether the head multiplies with the table too.
    pub fn is_head_s(&self, program: &Program) -> bool {
        let reads = |op: &Op| matches!(op, Op::MatMul { view, .. } if view.weight == self.table);
        program.ops.last().is_some_and(|ops| ops.iter().any(reads))
    }

    /// Wants what a pass of `tokens` needs. True if all is there, `None` if it is too much.
    pub fn want(&mut self, program: &Program, tokens: &[u32]) -> Option<bool> {
        let vectors = program.groups[0].weights.iter().filter(|id| **id != self.table).map(|id| Key::Vector(id.0));
        let mut keys: Vec<Key> = vectors.chain(tokens.iter().map(|token| Key::Row(*token))).collect();
        keys.sort_unstable();
        keys.dedup();
        let is_new = |key: &&Key| self.place(**key).is_err();
        if self.pieces.len() + keys.iter().filter(is_new).count() > PIECES_MAX {
            return None;
        }
        for key in &keys {
            if let Err(place) = self.place(*key) {
                let piece = Piece::new(program, self.table, *key);
                let (part, offset, length) = (piece.part, piece.start, piece.bytes.len() as u64);
                self.wanted.push(SourceRange { group: 0, part, offset, length });
                self.missing.push(*key);
                self.pieces.insert(place, piece);
            }
        }
        Some(!self.missing.iter().any(|key| keys.binary_search(key).is_ok()))
    }

    /// Where a piece is, or belongs.
    fn place(&self, key: Key) -> Result<usize, usize> {
        self.pieces.binary_search_by_key(&key, |piece| piece.key)
    }

    /// The next piece to fetch.
    pub fn poll(&mut self) -> Option<SourceRange> {
        self.wanted.pop()
    }

    /// A piece could not be fetched.
    pub fn failed(&mut self, range: SourceRange) {
        self.wanted.push(range);
    }

    /// Takes from bytes of the source what is missing; see [`super::Session::supply`].
    pub fn supply<E>(
        &mut self,
        part: u16,
        offset: u64,
        length: usize,
        copy: &mut impl FnMut(Range<usize>, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = offset.saturating_add(length as u64);
        let (mut result, pieces) = (Ok(()), &mut self.pieces);
        self.missing.retain(|key| {
            let place = pieces.binary_search_by_key(key, |piece| piece.key);
            let piece = &mut pieces[place.expect("what is missing is a piece")];
            if piece.part != part || result.is_err() {
                return true;
            }
            let (from, to) = (offset.max(piece.start), end.min(piece.start + piece.bytes.len() as u64));
            if from < to {
                // What came is in memory already, so its part of a piece is a usize.
                let within = (from - piece.start) as usize..(to - piece.start) as usize;
                let source = (from - offset) as usize;
                result = copy(source..source + within.len(), &mut piece.bytes[within.clone()]);
                if result.is_ok() {
                    piece.filled.insert(within);
                }
            }
            piece.filled.start() < piece.bytes.len()
        });
        result
    }

    /// Puts a token's row, scaled, into `values`. The row is there.
    pub fn embed(&self, token: u32, values: &mut [f32]) {
        let place = self.place(Key::Row(token)).expect("the row is there");
        dequantise_row(self.dtype, &self.pieces[place].bytes, values);
        if self.scale != 1.0 {
            crate::cpu::vector::scale(values, self.scale);
        }
    }

    /// The vectors beside the table, which are there.
    pub fn vectors(&self) -> impl Iterator<Item = (WeightId, &[u8])> {
        self.pieces.iter().filter_map(|piece| match piece.key {
            Key::Vector(id) => Some((WeightId(id), piece.bytes.as_slice())),
            Key::Row(_) => None,
        })
    }

    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.wanted.clear();
        self.missing.clear();
    }
}

impl Piece {
    fn new(program: &Program, table: WeightId, key: Key) -> Piece {
        let table = &program.weights[table.0 as usize];
        let (part, start, length) = match key {
            Key::Vector(id) => {
                let vector = &program.weights[id as usize];
                (vector.part, vector.file_offset, vector.bytes)
            }
            Key::Row(token) => {
                let row_bytes = table.bytes / table.rows;
                (table.part, table.file_offset + u64::from(token) * row_bytes as u64, row_bytes)
            }
        };
        Piece { key, part, start, bytes: vec![0; length], filled: Intervals::default() }
    }
}
