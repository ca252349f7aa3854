//! Activations as int8: each group of 16 values has its own f32 scale.

/// Values that share a scale. Groups of 32, as llama.cpp has for most formats, leave no margin to its
/// error; groups of 16 have about 0.75 of the noise for a few percent of the time.
pub const GROUP: usize = 16;

/// The shortest run of values that a quantised row is made of: two groups.
pub const PAIR: usize = 2 * GROUP;

/// Whether the kernels multiply 16-bit integers, for want of a dot product of bytes.
const WORDS: bool = cfg!(all(target_family = "wasm", not(target_feature = "relaxed-simd")));

#[cfg(not(all(target_family = "wasm", not(target_feature = "relaxed-simd"))))]
type Integer = i8;
#[cfg(all(target_family = "wasm", not(target_feature = "relaxed-simd")))]
type Integer = i16;

/// Two groups of a column, with all that a kernel needs of them in one place. Value `i` of them is
/// `scales[i / 16] · value(i)`.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// −127 to 127. Where they are 16-bit, the even two of each four values come before the odd two.
    pub integers: [Integer; PAIR],
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
    const ZERO: Pair =
        Pair { integers: [0; PAIR], scales: [0.0; 2], negative_sums: [[0; 2]; 2], sums: [0.0; 2], sum: 0.0 };

    /// Where value `i` lies in `integers`.
    pub const fn place(i: usize) -> usize {
        if WORDS { (i & !3) | (i & 1) << 1 | (i >> 1 & 1) } else { i }
    }

    /// The integer of value `i`.
    pub fn value(&self, i: usize) -> i32 {
        i32::from(self.integers[Self::place(i)])
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
