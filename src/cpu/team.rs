//! Who computes what where several threads compute one model. Each of them, a *shard*, has memory of its own and in
//! it rows of every matrix, and heads with their keys and values; what it computed of a slot it hands to the others.
//!
//! [`Split`] makes of a program the one that a shard executes: the same ops over some of the rows, and between them
//! steps at which the shards exchange what they have. A row's sum is never divided, and what stands between matrices
//! is either computed for the shard's own values or by every shard for all of them: so results are the same to the
//! bit, for any number of shards.

mod splitter;

use crate::program::*;
use std::ops::Range;

/// Rows that go to one shard together: the kernels take as many at once, …
const ROWS_TOGETHER: usize = 32;
/// … or at least so many, which are interleaved in memory.
const ROWS_INTERLEAVED: usize = super::matmul::GROUP_ROWS;
/// Runs of rows for each shard from which on they may be the longer ones.
const RUNS_MIN: usize = 4;

/// How the values of a slot are divided: it is `blocks` runs of equal width, and of each run shard `k` has the values
/// from `bounds[k]` to `bounds[k + 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Runs of a token's values; the slot is so many times as wide as `run`.
    pub blocks: usize,
    /// Values at which shards begin within a run, and the run's width as the last: one more than there are shards.
    pub bounds: Vec<usize>,
}

impl Shares {
    /// So many runs of `width` rows of matrices.
    fn of_rows(blocks: usize, width: usize, shards: usize) -> Shares {
        let is_long = width / ROWS_TOGETHER >= RUNS_MIN * shards;
        let unit = if is_long { ROWS_TOGETHER } else { ROWS_INTERLEAVED };
        let units = width.div_ceil(unit);
        Shares { blocks, bounds: (0..=shards).map(|shard| width.min(units * shard / shards * unit)).collect() }
    }

    /// One run of `heads` that have `width` values each.
    pub fn of_heads(heads: usize, width: usize, shards: usize) -> Shares {
        Shares { blocks: 1, bounds: (0..=shards).map(|shard| heads * shard / shards * width).collect() }
    }

    /// All of `width` values to the first shard.
    fn of_first(width: usize, shards: usize) -> Shares {
        let bounds = (0..=shards).map(|shard| if shard == 0 { 0 } else { width }).collect();
        Shares { blocks: 1, bounds }
    }

    /// What a shard has of each run.
    pub fn of(&self, shard: usize) -> Range<usize> {
        self.bounds[shard]..self.bounds[shard + 1]
    }

    /// Width of a run.
    pub fn run(&self) -> usize {
        self.bounds[self.bounds.len() - 1]
    }

    /// Values that a shard has of a token.
    pub fn width(&self, shard: usize) -> usize {
        self.blocks * self.of(shard).len()
    }

    /// Whether no shard has a slice of some `width` consecutive values only.
    fn keeps_together(&self, width: usize) -> bool {
        self.blocks == 1 && self.bounds.iter().all(|bound| bound % width == 0)
    }
}

/// What a shard does next.
#[derive(Debug)]
pub enum Step {
    /// An op of the shard's program.
    Op(Op),
    /// `slice` = the shard's own values of `whole`.
    Narrow {
        /// A slot of which every shard has all values.
        whole: Slot,
        /// As wide as the shard's shares.
        slice: Slot,
        /// Who has what.
        shares: Shares,
    },
    /// An exchange, for which the shard waits.
    Gather(Gather),
}

/// An exchange: every shard hands over its `slice` of `whole`, and gets the others'.
#[derive(Debug)]
pub struct Gather {
    /// Where this shard's slice is; none if it has none.
    pub slice: Option<Slot>,
    /// Where all slices come to lie.
    pub whole: Slot,
    /// Who hands over what.
    pub shares: Shares,
    /// Only the first shard gets the others' slices.
    pub is_to_first: bool,
}

/// Bytes of a weight that a shard has: `count` runs of `bytes` that begin `stride` apart, the first at `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The shard's weight, in which the runs follow one another.
    pub local: WeightId,
    first: usize,
    bytes: usize,
    stride: usize,
    count: usize,
}

impl Piece {
    /// Those of its bytes that lie in `range` of the weight: where in the weight, and where in the shard's one.
    pub fn within(self, range: &Range<usize>) -> impl Iterator<Item = (Range<usize>, usize)> + use<> {
        let (start, end) = (range.start, range.end);
        (0..self.count).filter_map(move |run| {
            let at = self.first + run * self.stride;
            let (from, to) = (at.max(start), (at + self.bytes).min(end));
            (from < to).then(|| (from..to, run * self.bytes + from - at))
        })
    }
}

/// What one shard executes.
pub struct Split {
    /// The shard's number, from 0.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
    /// Slots, weights, states and ops of the shard. The slots of the whole program come first.
    pub program: Program,
    /// The steps of each group.
    pub steps: Vec<Vec<Step>>,
    /// The shard's pieces of each weight of the whole program.
    pub pieces: Vec<Vec<Piece>>,
    /// By state: how many heads its keys and values have, where the shards divide them among themselves.
    heads: Vec<Option<usize>>,
}

/// Whether several threads may compute a program: where states hold the whole past, the copies of them that a sequence
/// goes back to are made by one.
pub fn divides(program: &Program) -> bool {
    program.fixed_values() == 0
}

impl Split {
    /// What shard number `shard` of `shards` computes.
    pub fn new(whole: &Program, shard: usize, shards: usize) -> Split {
        if shards > 1 {
            return splitter::split(whole, shard, shards);
        }
        let piece = |(index, weight): (usize, &Weight)| {
            let local = WeightId(index as u32);
            vec![Piece { local, first: 0, bytes: weight.bytes, stride: 0, count: 1 }]
        };
        Split {
            shard,
            shards,
            steps: whole.ops.iter().map(|ops| ops.iter().copied().map(Step::Op).collect()).collect(),
            pieces: whole.weights.iter().enumerate().map(piece).collect(),
            program: whole.clone(),
            heads: vec![None; whole.states.len()],
        }
    }

    /// Whether the shards divide the heads of a state; else each has all of it.
    pub fn divides_state(&self, state: StateId) -> bool {
        self.heads[state.0 as usize].is_some()
    }

    /// How many steps of a group it takes until the hidden state is there.
    pub fn steps_until_hidden(&self, group: usize) -> usize {
        let hidden = self.program.outputs.hidden;
        let writes = |step: &Step| match step {
            Step::Op(op) => op.destination() == Some(hidden),
            Step::Narrow { .. } => false,
            Step::Gather(gather) => gather.whole == hidden,
        };
        match self.program.is_head(group) {
            true => self.steps[group].iter().rposition(writes).map_or(0, |last| last + 1),
            false => self.steps[group].len(),
        }
    }

    /// The weight of which the shard has all.
    pub fn local(&self, id: WeightId) -> Option<WeightId> {
        let pieces = &self.pieces[id.0 as usize];
        pieces.iter().find(|piece| piece.first == 0 && piece.count == 1).map(|piece| piece.local)
    }
}

/// By state: how many heads its keys and values have, if the shards divide them among themselves.
fn divided_heads(program: &Program, shards: usize) -> Vec<Option<usize>> {
    let mut heads: Vec<Option<usize>> = vec![None; program.states.len()];
    let mut is_whole = vec![false; program.states.len()];
    for op in program.all_ops() {
        let mut touched = None;
        { *op }.operands(&mut |operand| {
            if let Operand::ReadState(state) | Operand::WriteState(state) = operand {
                touched = Some(*state);
            }
        });
        let Some(state) = touched.map(|state| state.0 as usize) else { continue };
        let count = if let Op::KvWrite { state, head_dim, .. } = *op {
            Some(program[state].kv_widths().0 / head_dim)
        } else if let Op::Attention { kv_heads, alibi: None, .. } = *op {
            Some(kv_heads)
        } else {
            // The slopes of ALiBi go by the number of a head among all; of other states nothing is known.
            None
        };
        is_whole[state] |= count.is_none_or(|count| count < shards || heads[state].is_some_and(|known| known != count));
        heads[state] = count;
    }
    heads.into_iter().zip(is_whole).map(|(heads, is_whole)| heads.filter(|_| !is_whole)).collect()
}
