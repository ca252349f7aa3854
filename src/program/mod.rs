//! A model, compiled: the list of operations that a backend (`cpu`, `gpu`) executes and that knows nothing
//! of models; a model writes the list and knows nothing of backends.

mod op;
mod operands;
mod rope;
mod state;
mod weight;

pub use op::{Activation, Epilogue, Mask, Norm, Op, RESIDUAL, Routing, Runs, Scores, Slot, alibi_slope};
pub use operands::Operand;
pub use rope::{Rope, RopeId, RopeStyle};
pub use state::{Kv, KvFormat, State, StateId};
pub use weight::{AdapterId, Group, Role, RowView, WEIGHT_ALIGNMENT, Weight, WeightId};

use std::ops::Index;

/// Where the head leaves what may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Its normalised input, the hidden state of a token.
    pub hidden: Slot,
    /// A value for each token of the vocabulary. Of a model that ranks texts, its scores; of one that makes nothing but
    /// hidden states, a slot without values.
    pub logits: Slot,
}

/// A model, compiled: what to compute, in what order, from which weights.
#[derive(Clone, Debug)]
pub struct Program {
    /// Width of each slot in f32 values per token. Slot 0 is the residual stream: it lives across
    /// groups, the others only within one.
    pub slots: Vec<usize>,
    /// By [`WeightId`]: the tensors that are used, with their places in the file.
    pub weights: Vec<Weight>,
    /// By [`RopeId`]: layers that rotate alike share one.
    pub ropes: Vec<Rope>,
    /// What a sequence keeps from token to token.
    pub states: Vec<State>,
    /// In the order in which they are computed: the embedding, the layers, the head. With tied embeddings
    /// the head's ops read the embedding's table.
    pub groups: Vec<Group>,
    /// The ops of each group.
    pub ops: Vec<Vec<Op>>,
    /// The slots that a caller reads after the head.
    pub outputs: Outputs,
    /// Tokens that there are: rows of the embedding's table.
    pub vocabulary: usize,
    /// How many adapters there are. Every pass has a scale for each.
    pub adapters: usize,
}

impl Program {
    /// A program without ops, of so many layers between the embedding and the head.
    pub fn empty(width: usize, vocabulary: usize, layers: usize) -> Program {
        let layers = (0..layers).map(Role::Layer);
        let roles = [Role::Embed].into_iter().chain(layers).chain([Role::Head]);
        let mut program = Program {
            slots: vec![width],
            weights: Vec::new(),
            ropes: Vec::new(),
            states: Vec::new(),
            groups: Vec::new(),
            ops: Vec::new(),
            outputs: Outputs { hidden: RESIDUAL, logits: RESIDUAL },
            vocabulary,
            adapters: 0,
        };
        roles.for_each(|role| {
            program.push_group(role);
        });
        program
    }

    /// Adds a group without ops and weights; its number.
    pub fn push_group(&mut self, role: Role) -> usize {
        self.groups.push(Group { role, weights: Vec::new(), bytes: 0 });
        self.ops.push(Vec::new());
        self.groups.len() - 1
    }

    /// Adds a slot of `width` values a token.
    pub fn push_slot(&mut self, width: usize) -> Slot {
        self.slots.push(width);
        Slot((self.slots.len() - 1) as u16)
    }

    /// Adds a state.
    pub fn push_state(&mut self, state: State) -> StateId {
        self.states.push(state);
        StateId((self.states.len() - 1) as u16)
    }

    /// Adds a rotation, unless there is one like it.
    pub fn push_rope(&mut self, rope: Rope) -> RopeId {
        let index = self.ropes.iter().position(|r| *r == rope).unwrap_or(self.ropes.len());
        if index == self.ropes.len() {
            self.ropes.push(rope);
        }
        RopeId(index as u16)
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
            adapter: None,
        })
    }

    /// Puts a weight behind the others of its group.
    pub fn push_weight(&mut self, weight: Weight) -> WeightId {
        let id = WeightId(self.weights.len() as u32);
        let Group { weights, bytes, .. } = &mut self.groups[weight.group];
        let weight = Weight { index: weights.len(), group_offset: *bytes, ..weight };
        let end = bytes.saturating_add(weight.bytes);
        *bytes = end.checked_next_multiple_of(WEIGHT_ALIGNMENT).unwrap_or(end);
        weights.push(id);
        self.weights.push(weight);
        id
    }

    /// The weights of a group in which the rows of experts lie one behind the other, with how many each has.
    pub fn experts(&self, group: usize) -> impl Iterator<Item = (WeightId, usize)> + '_ {
        let experts =
            |op: &Op| if let Op::ExpertMatMul { view, .. } = *op { Some((view.weight, view.rows)) } else { None };
        self.ops[group].iter().filter_map(experts)
    }

    /// Bytes of a group's weights that a pass of so many tokens reads, at most: of experts only those that they choose.
    pub fn bytes_read(&self, group: usize, tokens: usize) -> u64 {
        let unread = |op: &Op| {
            let Op::ExpertMatMul { view, used, .. } = *op else { return 0 };
            let (weight, bytes) = (&self[view.weight], self[view.weight].bytes);
            let experts = weight.rows / view.rows;
            bytes - bytes / experts * experts.min(used.saturating_mul(tokens))
        };
        (self.groups[group].bytes - self.ops[group].iter().map(unread).sum::<usize>()) as u64
    }

    /// Whether a group is the head: the last one, which makes the outputs.
    pub fn is_head(&self, group: usize) -> bool {
        self.groups[group].role == Role::Head
    }

    /// The ops of every group.
    pub fn all_ops(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().flatten()
    }

    /// The adapter that an op is a part of, if any. Where its scale is 0, the op need not be computed.
    pub fn adapter(&self, op: &Op) -> Option<AdapterId> {
        let mut adapter = if let Op::Adapt { adapter, .. } = *op { Some(adapter) } else { None };
        { *op }.operands(&mut |operand| {
            if let Operand::Matrix(RowView { weight, .. }) | Operand::Table(weight) = operand {
                adapter = self[*weight].adapter;
            }
        });
        adapter
    }

    /// How many ops of a group it takes until the hidden state is there: of the head those up to the last that writes it,
    /// or all where others do that, of the other groups all.
    pub fn ops_until_hidden(&self, group: usize) -> usize {
        let writes = |op: &Op| op.destination() == Some(self.outputs.hidden);
        let all = self.ops[group].len();
        // The residual stream may come as it is.
        let otherwise = if self.outputs.hidden == RESIDUAL { 0 } else { all };
        match self.is_head(group) {
            true => self.ops[group].iter().rposition(writes).map_or(otherwise, |last| last + 1),
            false => all,
        }
    }

    /// Whether there is a logit for each token of the vocabulary, so that a text can be gone on with.
    pub fn makes_logits(&self) -> bool {
        self[self.outputs.logits] == self.vocabulary
    }

    /// Has keys and values kept in this format, where their heads fit it; the others stay in half precision.
    pub fn keep_in(&mut self, format: KvFormat) {
        for state in &mut self.states {
            if let State::Kv(kv) = state {
                kv.format = if kv.fits(format) { format } else { KvFormat::F16 };
            }
        }
    }

    /// The formats of all keys and values.
    pub fn kv_formats(&self) -> impl Iterator<Item = KvFormat> + '_ {
        self.states.iter().filter_map(|state| if let State::Kv(kv) = state { Some(kv.format) } else { None })
    }

    /// Values of all states that hold the whole past.
    pub fn fixed_values(&self) -> usize {
        self.states.iter().fold(0, |sum: usize, state| sum.saturating_add(state.fixed_values()))
    }

    /// Bytes of all states for a sequence of up to `context` positions.
    pub fn state_bytes(&self, context: usize) -> u64 {
        self.states.iter().map(|state| state.bytes(context)).sum()
    }
}

impl Index<Slot> for Program {
    type Output = usize;

    /// The width of a slot, in values per token.
    fn index(&self, slot: Slot) -> &usize {
        &self.slots[slot.0 as usize]
    }
}

impl Index<WeightId> for Program {
    type Output = Weight;

    fn index(&self, id: WeightId) -> &Weight {
        &self.weights[id.0 as usize]
    }
}

impl Index<StateId> for Program {
    type Output = State;

    fn index(&self, id: StateId) -> &State {
        &self.states[id.0 as usize]
    }
}

impl Index<RopeId> for Program {
    type Output = Rope;

    fn index(&self, id: RopeId) -> &Rope {
        &self.ropes[id.0 as usize]
    }
}
