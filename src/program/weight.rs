//! Weights, and the groups in which they move through memory.

/// A weight of [`super::Program::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightId(pub u32);

/// An adapter, by its place among those that the model is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdapterId(pub u16);

/// Consecutive rows of a weight matrix: a fused tensor (`attn_qkv`) is several views of one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView {
    /// The whole matrix.
    pub weight: WeightId,
    /// Rows of it that come before.
    pub first_row: usize,
    /// How many there are: one for each value of the product.
    pub rows: usize,
}

/// A weight tensor as the program sees it: `rows` rows of `columns` values (all experts' rows in one).
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// As the file has it: `blk.0.attn_q.weight`.
    pub name: String,
    /// How blocks of its rows are encoded, in the file and in memory.
    pub dtype: crate::quant::Dtype,
    /// 1 for a vector.
    pub rows: usize,
    /// Values of a row: whole blocks.
    pub columns: usize,
    /// The number of its group.
    pub group: usize,
    /// Its place in [`Group::weights`].
    pub index: usize,
    /// Where it lies in its group's memory, in bytes; a multiple of [`WEIGHT_ALIGNMENT`].
    pub group_offset: usize,
    /// In the file, and as many in its group's memory, however rows alternate there.
    pub bytes: usize,
    /// Number of the part of the file that it lies in; 0 unless the model is split. Adapters are the parts behind the
    /// model's own.
    pub part: u16,
    /// Bytes from the beginning of that part.
    pub file_offset: u64,
    /// Whether some op multiplies with it: such weights may be repacked, others are read as they are.
    pub is_matrix: bool,
    /// The adapter that it is of, if it is no weight of the model.
    pub adapter: Option<AdapterId>,
}

/// Alignment of weights within a group, in bytes.
pub const WEIGHT_ALIGNMENT: usize = 64;

/// What a group is in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first: what tokens become when they enter.
    Embed,
    /// A layer, by its number.
    Layer(usize),
    /// The last: the logits.
    Head,
}

/// The weights that are needed together and move through memory together: the embedding, one layer, the head.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What it is for.
    pub role: Role,
    /// In the order in which they lie in memory.
    pub weights: Vec<WeightId>,
    /// Memory that it takes, with the gaps that alignment leaves.
    pub bytes: usize,
}
