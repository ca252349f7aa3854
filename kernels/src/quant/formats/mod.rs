//! One file a format. A new one is a file here, its decoder in `shaders/shared/`, and a row in the list below.

use super::format::Format;

pub use iq4_nl::IQ4_VALUES;
pub use mxfp4::MXFP4_VALUES;

/// Makes the modules, the enumeration and the table of formats from one list.
macro_rules! registry {
    ($($name:ident: $module:ident,)+) => {
        $(mod $module;)+

        /// Tensor types: what a file's weights are stored as.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types)]
        pub enum Dtype {
            $(#[doc = concat!("`", stringify!($name), "` of ggml.")] $name,)+
        }

        impl Dtype {
            /// Every supported type.
            pub const ALL: [Dtype; FORMATS.len()] = [$(Dtype::$name,)+];

            /// All that is known of the type.
            pub const fn format(self) -> &'static Format {
                FORMATS[self as usize]
            }
        }

        const FORMATS: &[&Format] = &[$(&$module::FORMAT,)+];
    };
}

registry! {
    F32: f32,
    F16: f16,
    BF16: bf16,
    Q4_0: q4_0,
    Q4_1: q4_1,
    Q5_0: q5_0,
    Q5_1: q5_1,
    Q8_0: q8_0,
    Q1_0: q1_0,
    Q2_0: q2_0,
    Q2_K: q2_k,
    Q3_K: q3_k,
    Q4_K: q4_k,
    Q5_K: q5_k,
    Q6_K: q6_k,
    Q8_K: q8_k,
    IQ4_NL: iq4_nl,
    IQ4_XS: iq4_xs,
    MXFP4: mxfp4,
    NVFP4: nvfp4,
    TQ1_0: tq1_0,
    TQ2_0: tq2_0,
    IQ1_S: iq1_s,
    IQ1_M: iq1_m,
    IQ2_XXS: iq2_xxs,
    IQ2_XS: iq2_xs,
    IQ2_S: iq2_s,
    IQ3_XXS: iq3_xxs,
    IQ3_S: iq3_s,
}
