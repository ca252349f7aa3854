//! What the first layer needs of the embedding's group, fetched before the group: the table's rows of the
//! tokens that are about to be computed, and the vectors beside the table. So an answer begins with the first
//! layer, and the table itself can come last: where the head has a matrix of its own, the first token comes
//! before the table does.

use crate::pager::{Intervals, SourceRange};
use crate::program::{Op, Program, RESIDUAL, WeightId};
use crate::quant::{Dtype, dequantise_row};
use std::ops::Range;

/// A smaller table costs less than requests for its rows.
const TABLE_BYTES_MIN: usize = 1 << 20;

/// Pieces that are kept. A pass that needs more of them waits for the table.
const PIECES_MAX: usize = 256;

/// The pieces of one program's first group, until the group is there.
pub struct EarlyRows {
    table: WeightId,
    dtype: Dtype,
    scale: f32,
    pieces: Vec<Piece>,
    /// Pieces that nobody fetches yet.
    wanted: Vec<SourceRange>,
    /// How many are not complete.
    missing: usize,
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Row(u32),
    Vector(WeightId),
}

struct Piece {
    key: Key,
    part: u16,
    start: u64,
    bytes: Vec<u8>,
    filled: Intervals,
}

impl EarlyRows {
    /// None for a program whose first group has more than an embedding and vectors, or a small table.
    pub fn new(program: &Program) -> Option<EarlyRows> {
        let [Op::Embed { table, dst: RESIDUAL, scale }] = *program.ops[0].as_slice() else { return None };
        let weight = |id: WeightId| &program[id];
        let others = program.groups[0].weights.iter().filter(|id| **id != table);
        if weight(table).bytes < TABLE_BYTES_MIN || others.into_iter().any(|id| weight(*id).is_matrix) {
            return None;
        }
        let dtype = weight(table).dtype;
        Some(EarlyRows { table, dtype, scale, pieces: Vec::new(), wanted: Vec::new(), missing: 0 })
    }

    /// Whether the head multiplies with the table too.
    pub fn is_head_s(&self, program: &Program) -> bool {
        let reads = |op: &Op| op.matrix().is_some_and(|view| view.weight == self.table);
        program.ops.last().is_some_and(|ops| ops.iter().any(reads))
    }

    /// Wants what a pass of `tokens` needs. True if all is there, `None` if it is too much.
    pub fn want(&mut self, program: &Program, tokens: &[u32]) -> Option<bool> {
        let others = program.groups[0].weights.iter().filter(|id| **id != self.table);
        if self.pieces.len() + tokens.len() + others.clone().count() > PIECES_MAX {
            return None;
        }
        let keys = others.map(|id| Key::Vector(*id)).chain(tokens.iter().map(|token| Key::Row(*token)));
        let mut is_there = true;
        for key in keys {
            is_there &= match self.pieces.iter().find(|piece| piece.key == key) {
                Some(piece) => piece.is_complete(),
                None => {
                    let piece = Piece::new(program, self.table, key);
                    let (part, offset, length) = (piece.part, piece.start, piece.bytes.len() as u64);
                    self.wanted.push(SourceRange { group: 0, part, offset, length });
                    self.pieces.push(piece);
                    self.missing += 1;
                    false
                }
            };
        }
        Some(is_there)
    }

    /// The next piece to fetch.
    pub fn poll(&mut self) -> Option<SourceRange> {
        self.wanted.pop()
    }

    /// A piece could not be fetched.
    pub fn failed(&mut self, range: SourceRange) {
        self.wanted.push(range);
    }

    /// Takes from bytes of the source what is missing; see [`super::Engine::supply`].
    pub fn supply<E>(
        &mut self,
        part: u16,
        offset: u64,
        length: usize,
        copy: &mut impl FnMut(Range<usize>, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.missing == 0 {
            return Ok(());
        }
        let end = offset.saturating_add(length as u64);
        for piece in self.pieces.iter_mut().filter(|piece| piece.part == part && !piece.is_complete()) {
            let (from, to) = (offset.max(piece.start), end.min(piece.start + piece.bytes.len() as u64));
            if from < to {
                // What came is in memory already, so its part of a piece is a usize.
                let within = (from - piece.start) as usize..(to - piece.start) as usize;
                let source = (from - offset) as usize;
                copy(source..source + within.len(), &mut piece.bytes[within.clone()])?;
                piece.filled.insert(within);
                self.missing -= usize::from(piece.is_complete());
            }
        }
        Ok(())
    }

    /// Puts a token's row, scaled, into `values`. The row is there.
    pub fn embed(&self, token: u32, values: &mut [f32]) {
        let row = self.pieces.iter().find(|piece| piece.key == Key::Row(token)).expect("the row is there");
        dequantise_row(self.dtype, &row.bytes, values);
        if self.scale != 1.0 {
            crate::cpu::vector::scale(values, self.scale);
        }
    }

    /// The vectors beside the table, which are there.
    pub fn vectors(&self) -> impl Iterator<Item = (WeightId, &[u8])> {
        self.pieces.iter().filter_map(|piece| match piece.key {
            Key::Vector(id) => Some((id, piece.bytes.as_slice())),
            Key::Row(_) => None,
        })
    }

    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.wanted.clear();
        self.missing = 0;
    }
}

impl Piece {
    fn new(program: &Program, table: WeightId, key: Key) -> Piece {
        let table = &program[table];
        let (part, start, length) = match key {
            Key::Vector(id) => {
                let vector = &program[id];
                (vector.part, vector.file_offset, vector.bytes)
            }
            Key::Row(token) => {
                let row_bytes = table.bytes / table.rows;
                (table.part, table.file_offset + u64::from(token) * row_bytes as u64, row_bytes)
            }
        };
        Piece { key, part, start, bytes: vec![0; length], filled: Intervals::default() }
    }

    fn is_complete(&self) -> bool {
        self.filled.start() == self.bytes.len()
    }
}
