//! A model, compiled: the list of operations that a backend (`cpu`, `gpu`) executes and that knows nothing
//! of models; a model writes the list and knows nothing of backends.

mod op;
mod rope;
mod weight;

pub use op::{Activation, Epilogue, Op, RESIDUAL, Slot, destination, reads};
pub use rope::{Rope, RopeStyle};
pub use weight::{Group, RowView, WEIGHT_ALIGNMENT, Weight, WeightId};

/// A model, compiled: what to compute, in what order, from which weights.
#[derive(Clone, Debug)]
pub struct Program {
    /// Width of each slot in f32 values per token. Slot 0 is the residual stream: it lives across
    /// groups, the others only within one.
    pub slots: Vec<usize>,
    pub weights: Vec<Weight>,
    pub ropes: Vec<Rope>,
    /// Group 0 is the embedding, 1 to n the layers, n + 1 the head.
    pub groups: Vec<Group>,
    /// The ops of each group. The head's end in `logits`.
    pub ops: Vec<Vec<Op>>,
    /// Where the head leaves the logits. With tied embeddings the head's ops read the table of group 0.
    pub logits: Slot,
    /// Key and value widths of each layer's cache, in values per token.
    pub kv_widths: Vec<(usize, usize)>,
    pub vocabulary: usize,
}

impl Program {
    /// A program without ops, of so many groups.
    pub fn empty(width: usize, vocabulary: usize, groups: usize) -> Program {
        Program {
            slots: vec![width],
            weights: Vec::new(),
            ropes: Vec::new(),
            groups: vec![Group { weights: Vec::new(), bytes: 0 }; groups],
            ops: vec![Vec::new(); groups],
            logits: RESIDUAL,
            kv_widths: Vec::new(),
            vocabulary,
        }
    }

    /// Adds a weight that no file has.
    pub fn add_weight(
        &mut self,
        group: usize,
        dtype: crate::quant::Dtype,
        [rows, columns]: [usize; 2],
        is_matrix: bool,
    ) -> WeightId {
        let bytes = rows * dtype.row_bytes(columns as u64).unwrap_or(0) as usize;
        self.push_weight(Weight {
            name: String::new(),
            dtype,
            rows,
            columns,
            group,
            index: 0,
            group_offset: 0,
            bytes,
            part: 0,
            file_offset: 0,
            is_matrix,
        })
    }

    /// Puts a weight behind the others of its group.
    pub fn push_weight(&mut self, weight: Weight) -> WeightId {
        let id = WeightId(self.weights.len() as u32);
        let Group { weights, bytes } = &mut self.groups[weight.group];
        let weight = Weight { index: weights.len(), group_offset: *bytes, ..weight };
        let end = bytes.saturating_add(weight.bytes);
        *bytes = end.checked_next_multiple_of(WEIGHT_ALIGNMENT).unwrap_or(end);
        weights.push(id);
        self.weights.push(weight);
        id
    }

    /// Where the head leaves its normalised input: the hidden state.
    pub fn hidden(&self) -> Slot {
        match self.ops.last().and_then(|ops| ops.first()) {
            Some(Op::RmsNorm { dst, .. }) => *dst,
            _ => RESIDUAL,
        }
    }
}
