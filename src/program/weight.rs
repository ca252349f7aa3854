//! Weights, and the groups in which they move through memory.

/// A weight of [`super::Program::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightId(pub u32);

/// Consecutive rows of a weight matrix: a fused tensor (`attn_qkv`) is several views of one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView {
    pub weight: WeightId,
    pub first_row: usize,
    pub rows: usize,
}

/// A weight tensor as the program sees it: `rows` rows of `columns` values (all experts' rows in one).
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    pub name: String,
    pub dtype: crate::quant::Dtype,
    pub rows: usize,
    pub columns: usize,
    /// Its group, and its place in [`Group::weights`].
    pub group: usize,
    pub index: usize,
    /// Where it lies in its group's memory, in bytes; a multiple of [`WEIGHT_ALIGNMENT`].
    pub group_offset: usize,
    pub bytes: usize,
    /// Where it lies in the source: number of the file part, and the offset in that file.
    pub part: u16,
    pub file_offset: u64,
    /// Whether some op multiplies with it: such weights may be repacked, others are read as they are.
    pub is_matrix: bool,
}

/// Alignment of weights within a group, in bytes.
pub const WEIGHT_ALIGNMENT: usize = 64;

/// What a group is in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Embed,
    /// A layer, by its number.
    Layer(usize),
    Head,
}

/// The weights that are needed together and move through memory together: the embedding, one layer, the head.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub role: Role,
    pub weights: Vec<WeightId>,
    pub bytes: usize,
}
