//! What the kernels are told: for each kind of shader a file with the parameters of its `Op`, in their order,
//! and with the numbers that host and shader must agree on. Those are written into the shaders' sources; that
//! names, offsets and types are the same on both sides is what `tests/shaders.rs` checks.
//!
//! Fields have a comment where their names leave a question. Where slots begin among the activations (`query`, `src`,
//! `dst`), and `_stride`, from one token's row to the next one's, are in quads of four values; `_residual` is 1 where the
//! slot is the residual stream, of which the step says the row; `flag` is where the group notes values that are not
//! finite. Heads, tokens and experts are counted; `head_dim`, `value_dim` and `width` are values; `scale`, `softcap` and
//! `epsilon` are the op's.

mod attention;
mod candidates;
mod conv;
mod copy;
mod delta;
mod elementwise;
mod embed;
mod expert_sum;
mod matrix;
mod norm;
mod prepare;
mod rope;
mod route;
mod scan;
mod step;
mod wkv;

pub use attention::{Attention, tile_rows};
pub use candidates::{Candidates, SEGMENTS_MAX};
pub use conv::{Conv, TAPS_MAX};
pub use copy::Copy;
pub use delta::Delta;
pub use elementwise::Elementwise;
pub use embed::Embed;
pub use expert_sum::ExpertSum;
pub use matrix::{JOBS_MAX, Job, MATVEC_THREADS, MatrixProduct};
pub use norm::Norm;
pub use prepare::{HALF_WORDS, INTEGER_WORDS, Prepare};
pub use rope::Rope;
pub use route::Route;
pub use scan::Scan;
pub use step::Step;
pub use wkv::{Echo, Wkv};

pub(super) use route::scores_number;
pub(super) use {elementwise::NUMBER_WORD, elementwise::activation_number, elementwise::kinds};
pub(super) use {matrix::flags as job_flags, matrix::forms, rope::flags as rope_flags};

use super::shaders::{Arithmetic, Kernel};

/// An offset of an optional operand that is not there; shaders call it the same.
pub const NONE: u32 = u32::MAX;

/// A constant that is written into a shader.
pub type Constant = (&'static str, u32);

/// A field of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, on both sides.
    pub name: &'static str,
    /// The word at which it begins.
    pub word: usize,
    /// Its type, as WGSL writes it.
    pub wgsl: &'static str,
}

/// What a uniform may hold: words in an order.
pub trait Words {
    /// How many.
    const COUNT: usize;
    /// The type, as WGSL writes it.
    const WGSL: &'static str;
    /// Hands them on, one after the other.
    fn put(&self, to: &mut impl FnMut(u32));
}

/// Parameters of a kernel.
pub trait Parameters: Words {
    /// The fields, in their order.
    const FIELDS: &'static [Field];

    /// The words that the kernel reads.
    fn words(&self) -> Vec<u32> {
        let mut words = Vec::with_capacity(Self::COUNT);
        self.put(&mut |word| words.push(word));
        words
    }

    /// The same as the bytes of a uniform, which may be longer.
    fn bytes<const BYTES: usize>(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut places = bytes.chunks_exact_mut(4);
        self.put(&mut |word| places.next().expect("a uniform has room").copy_from_slice(&word.to_le_bytes()));
        bytes
    }
}

impl Words for u32 {
    const COUNT: usize = 1;
    const WGSL: &'static str = "u32";
    fn put(&self, to: &mut impl FnMut(u32)) {
        to(*self);
    }
}

impl Words for f32 {
    const COUNT: usize = 1;
    const WGSL: &'static str = "f32";
    fn put(&self, to: &mut impl FnMut(u32)) {
        to(self.to_bits());
    }
}

/// Where the planes of a slab begin, in words.
pub type Planes = [u32; 4];

impl Words for Planes {
    const COUNT: usize = 4;
    const WGSL: &'static str = "vec4<u32>";
    fn put(&self, to: &mut impl FnMut(u32)) {
        self.iter().copied().for_each(to);
    }
}

/// Makes a struct of parameters with its list of fields.
macro_rules! parameters {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs, reason = "the module says what their names mean")]
        pub struct $name { $($(#[$doc])* pub $field: $type,)+ }

        impl $crate::gpu::kernels::Words for $name {
            const COUNT: usize = 0 $(+ <$type as $crate::gpu::kernels::Words>::COUNT)+;
            const WGSL: &'static str = stringify!($name);
            fn put(&self, to: &mut impl FnMut(u32)) {
                $($crate::gpu::kernels::Words::put(&self.$field, to);)+
            }
        }

        impl $crate::gpu::kernels::Parameters for $name {
            const FIELDS: &'static [$crate::gpu::kernels::Field] = {
                use $crate::gpu::kernels::{Field, Words};
                const NAMES: &[(&str, usize, &str)] =
                    &[$((stringify!($field), <$type as Words>::COUNT, <$type as Words>::WGSL)),+];
                const FIELDS: [Field; NAMES.len()] = {
                    let mut fields = [Field { name: "", word: 0, wgsl: "" }; NAMES.len()];
                    let (mut at, mut word) = (0, 0);
                    while at < NAMES.len() {
                        fields[at] = Field { name: NAMES[at].0, word, wgsl: NAMES[at].2 };
                        word += NAMES[at].1;
                        at += 1;
                    }
                    fields
                };
                &FIELDS
            };
        }
    };
}

/// Makes constants of u32 with the list of them that is written into shaders.
macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)+) => {
        $($(#[$doc])* pub const $name: u32 = $value;)+

        /// All of them, for the shaders.
        pub const ALL: &[$crate::gpu::kernels::Constant] = &[$((stringify!($name), $name)),+];
    };
}

pub(super) use {constants, parameters};

impl Kernel {
    /// The fields of what it is told.
    pub fn parameters(self) -> &'static [Field] {
        match self {
            Kernel::Embed(_) => Embed::FIELDS,
            Kernel::MatVec(_) | Kernel::MatMat(_) => MatrixProduct::FIELDS,
            Kernel::Prepare => Prepare::FIELDS,
            Kernel::Norm => Norm::FIELDS,
            Kernel::Rope(_) => Rope::FIELDS,
            Kernel::Attention(_) | Kernel::AttentionReduce | Kernel::AttentionTiles(_) => Attention::FIELDS,
            Kernel::Elementwise => Elementwise::FIELDS,
            Kernel::Route => Route::FIELDS,
            Kernel::ExpertSum => ExpertSum::FIELDS,
            Kernel::Top | Kernel::Sample => Candidates::FIELDS,
            Kernel::Copy => Copy::FIELDS,
            Kernel::Conv => Conv::FIELDS,
            Kernel::Scan => Scan::FIELDS,
            Kernel::Delta => Delta::FIELDS,
            Kernel::Wkv => Wkv::FIELDS,
            Kernel::Echo => Echo::FIELDS,
        }
    }

    /// The constants that its source begins with, in lists. `arithmetic`: of tiles.
    pub(super) fn constants(self, arithmetic: Arithmetic) -> Vec<&'static [Constant]> {
        let prepared = prepare::constants(arithmetic);
        match self {
            Kernel::MatVec(_) => vec![matrix::flags::ALL, matrix::forms::ALL, matrix::threads::ALL],
            Kernel::MatMat(_) => vec![matrix::flags::ALL, matrix::forms::ALL, prepared],
            Kernel::Prepare => vec![prepared],
            Kernel::Rope(_) => vec![rope::flags::ALL],
            Kernel::AttentionTiles(_) => vec![attention::tiles::ALL],
            Kernel::Elementwise => vec![elementwise::kinds::ALL, elementwise::activations::ALL],
            Kernel::Top | Kernel::Sample => vec![candidates::bounds::ALL],
            Kernel::Route => vec![route::scores::ALL],
            Kernel::Conv => vec![conv::bounds::ALL],
            Kernel::Embed(_) | Kernel::Norm | Kernel::Attention(_) => Vec::new(),
            Kernel::AttentionReduce | Kernel::ExpertSum => Vec::new(),
            Kernel::Copy | Kernel::Scan | Kernel::Delta | Kernel::Wkv | Kernel::Echo => Vec::new(),
        }
    }
}
