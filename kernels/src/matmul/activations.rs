//! Activations as int8: each group of 16 values has its own f32 scale.

/// Values that share a scale. Groups of 32, as llama.cpp has for most formats, leave no margin to its
/// error; groups of 16 have about 0.75 of the noise for a few percent of the time.
pub const GROUP: usize = 16;

/// The shortest run of values that a quantised row is made of: two groups.
pub const PAIR: usize = 2 * GROUP;

/// Two groups of a column, with all that a kernel needs of them in one place. Value `i` of them is
/// `scales[i / 16] · value(i)`.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// −127 to 127; of each four values the even two, then the odd two.
    pub words: [i16; PAIR],
    /// The same in their order, for kernels that multiply bytes.
    #[cfg(target_feature = "relaxed-simd")]
    pub bytes: [i8; PAIR],
    pub scales: [f32; 2],
    /// What zero points multiply: of each group minus the sum of the first two of each four integers,
    /// and minus that of the last two.
    pub negative_sums: [[i16; 2]; 2],
    /// The sum of each group's values, which minimums multiply, …
    pub sums: [f32; 2],
    /// … and that of both.
    pub sum: f32,
}

impl Pair {
    const ZERO: Pair = Pair {
        words: [0; PAIR],
        #[cfg(target_feature = "relaxed-simd")]
        bytes: [0; PAIR],
        scales: [0.0; 2],
        negative_sums: [[0; 2]; 2],
        sums: [0.0; 2],
        sum: 0.0,
    };

    /// Where value `i` lies in `words`.
    const fn word_of(i: usize) -> usize {
        (i & !3) | (i & 1) << 1 | (i >> 1 & 1)
    }

    /// The integer of value `i`.
    pub fn value(&self, i: usize) -> i32 {
        i32::from(self.words[Self::word_of(i)])
    }

    /// Sets the integer of value `i`.
    pub fn set(&mut self, i: usize, value: i8) {
        self.words[Self::word_of(i)] = value.into();
        #[cfg(target_feature = "relaxed-simd")]
        {
            self.bytes[i] = value;
        }
    }
}

/// Int8 copy of a batch of activation columns, allocated once for the largest batch.
#[derive(Debug, Default)]
pub struct Activations {
    pairs: Vec<Pair>,
    /// Values in a column of the current batch.
    length: usize,
    columns: usize,
}

impl Activations {
    /// Room for `columns_max` columns of `values_max` values.
    pub fn new(values_max: usize, columns_max: usize) -> Self {
        let room = values_max.div_ceil(PAIR).checked_mul(columns_max).expect("a batch fits memory");
        Activations { pairs: vec![Pair::ZERO; room], length: 0, columns: 0 }
    }

    /// Memory that [`Activations::new`] would take.
    pub fn bytes(values_max: usize, columns_max: usize) -> usize {
        values_max.div_ceil(PAIR).saturating_mul(columns_max).saturating_mul(size_of::<Pair>())
    }

    /// Replaces the batch: `columns` columns of `values` values (a multiple of 32), one after another
    /// in `source`. A group with a value that is not finite gets a scale that is not.
    pub fn quantise(&mut self, source: &[f32], values: usize, columns: usize) {
        #[cfg(target_family = "wasm")]
        self.quantise_with(source, values, columns, super::simd128::quantise);
        #[cfg(not(target_family = "wasm"))]
        self.quantise_with(source, values, columns, super::scalar::quantise);
    }

    /// As [`Activations::quantise`], in scalar code.
    pub fn quantise_scalar(&mut self, source: &[f32], values: usize, columns: usize) {
        self.quantise_with(source, values, columns, super::scalar::quantise);
    }

    fn quantise_with(&mut self, source: &[f32], values: usize, columns: usize, quantise: fn(&[f32; PAIR], &mut Pair)) {
        assert_eq!(values % PAIR, 0, "quantised rows are multiples of 32 values");
        assert!(values * columns <= self.pairs.len() * PAIR, "the batch is no larger than announced");
        assert!(values * columns <= source.len(), "a value for every element");
        (self.length, self.columns) = (values, columns);
        let (source, _) = source[..values * columns].as_chunks::<PAIR>();
        for (source, pair) in source.iter().zip(&mut self.pairs) {
            quantise(source, pair);
        }
    }

    /// Replaces the batch by some columns of another.
    pub fn gather(&mut self, from: &Activations, columns: impl ExactSizeIterator<Item = usize>) {
        (self.length, self.columns) = (from.length, columns.len());
        let pairs = self.length / PAIR;
        assert!(pairs * self.columns <= self.pairs.len(), "the batch is no larger than announced");
        for (number, column) in columns.enumerate() {
            self.pairs[number * pairs..][..pairs].copy_from_slice(from.column(column));
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
    pub fn column(&self, index: usize) -> &[Pair] {
        assert!(index < self.columns, "column {index} of {}", self.columns);
        let pairs = self.length / PAIR;
        &self.pairs[index * pairs..(index + 1) * pairs]
    }
}
