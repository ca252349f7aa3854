//! Activations as int8: each group of 16 values has its own f32 scale.

use std::ops::Range;

/// Values that share a scale. Groups of 32, as llama.cpp has for most formats, leave no margin to its
/// error; groups of 16 have about 0.7 of the noise for a few percent of the time.
pub const GROUP: usize = 16;

/// The shortest run of values that a quantised row is made of: two groups.
pub const PAIR: usize = 2 * GROUP;

/// Int8 copy of a batch of activation columns, allocated once for the largest batch.
/// Value `i` of a column is `scales[i / 16] · values[i]`.
#[derive(Debug, Default)]
pub struct Activations {
    pub(super) values: Vec<i8>,
    /// The values once more, for kernels that multiply 16-bit integers: of each four values the even
    /// ones, then the odd ones.
    #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
    pub(super) words: Vec<i16>,
    pub(super) scales: Vec<f32>,
    /// Minus the sum of each group's integers, which zero points multiply.
    pub(super) negative_sums: Vec<i32>,
    /// The sum of each group's values, which minimums multiply, …
    pub(super) sums: Vec<f32>,
    /// … and that of each pair of groups.
    pub(super) pair_sums: Vec<f32>,
    /// Values in a column of the current batch.
    length: usize,
    columns: usize,
}

/// One column of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    pub values: &'a [i8],
    #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
    pub words: &'a [i16],
    pub scales: &'a [f32],
    pub negative_sums: &'a [i32],
    pub sums: &'a [f32],
    pub pair_sums: &'a [f32],
}

/// The memory of a column that is being quantised.
pub(super) struct ColumnMut<'a> {
    pub values: &'a mut [i8],
    #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
    pub words: &'a mut [i16],
    pub scales: &'a mut [f32],
    pub negative_sums: &'a mut [i32],
    pub sums: &'a mut [f32],
    pub pair_sums: &'a mut [f32],
}

impl Activations {
    /// Room for `columns_max` columns of `values_max` values.
    pub fn new(values_max: usize, columns_max: usize) -> Self {
        let room = values_max.next_multiple_of(PAIR).checked_mul(columns_max).expect("a batch fits memory");
        Activations {
            values: vec![0; room],
            #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
            words: vec![0; room],
            scales: vec![0.0; room / GROUP],
            negative_sums: vec![0; room / GROUP],
            sums: vec![0.0; room / GROUP],
            pair_sums: vec![0.0; room / PAIR],
            length: 0,
            columns: 0,
        }
    }

    /// Memory that [`Activations::new`] would take.
    pub fn bytes(values_max: usize, columns_max: usize) -> usize {
        let words = cfg!(all(target_family = "wasm", not(target_feature = "relaxed-simd")));
        let pair_bytes = PAIR * (1 + 2 * usize::from(words)) + 2 * 3 * 4 + 4;
        values_max.div_ceil(PAIR).saturating_mul(columns_max).saturating_mul(pair_bytes)
    }

    /// Replaces the batch: `columns` columns of `values` values (a multiple of 32), one after another
    /// in `source`. A group with a value that is not finite gets a scale that is not.
    pub fn quantise(&mut self, source: &[f32], values: usize, columns: usize) {
        self.quantise_with(source, values, columns, super::scalar::quantise);
    }

    pub(super) fn quantise_with(
        &mut self,
        source: &[f32],
        values: usize,
        columns: usize,
        quantise: impl Fn(&[f32], ColumnMut),
    ) {
        assert_eq!(values % PAIR, 0, "quantised rows are multiples of 32 values");
        assert!(values * columns <= self.values.len(), "the batch is no larger than announced");
        assert!(values * columns <= source.len(), "a value for every element");
        (self.length, self.columns) = (values, columns);
        for column in 0..columns {
            let range = column * values..(column + 1) * values;
            quantise(&source[range.clone()], self.column_mut(range));
        }
    }

    fn column_mut(&mut self, range: Range<usize>) -> ColumnMut<'_> {
        let groups = range.start / GROUP..range.end / GROUP;
        let pairs = range.start / PAIR..range.end / PAIR;
        ColumnMut {
            #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
            words: &mut self.words[range.clone()],
            values: &mut self.values[range],
            scales: &mut self.scales[groups.clone()],
            negative_sums: &mut self.negative_sums[groups.clone()],
            sums: &mut self.sums[groups],
            pair_sums: &mut self.pair_sums[pairs],
        }
    }

    /// Values in a column.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Columns in the batch.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Column `index` of the batch.
    pub fn column(&self, index: usize) -> Column<'_> {
        assert!(index < self.columns, "column {index} of {}", self.columns);
        let range = index * self.length..(index + 1) * self.length;
        let groups = range.start / GROUP..range.end / GROUP;
        let pairs = range.start / PAIR..range.end / PAIR;
        Column {
            #[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
            words: &self.words[range.clone()],
            values: &self.values[range],
            scales: &self.scales[groups.clone()],
            negative_sums: &self.negative_sums[groups.clone()],
            sums: &self.sums[groups],
            pair_sums: &self.pair_sums[pairs],
        }
    }
}
