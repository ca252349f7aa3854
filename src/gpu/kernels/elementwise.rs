//! What `shaders/elementwise.wgsl` is told.

use super::parameters;
use crate::program::Activation;

/// What happens to each value.
pub mod kinds {
    crate::gpu::kernels::constants! {
        /// dst = activation(dst) · src.
        GATE = 1;
        /// dst = activation(dst).
        ACTIVATE = 2;
        /// dst += src.
        ADD = 3;
        /// dst = number · tanh(dst / number).
        SOFTCAP = 4;
        /// dst = dst · number.
        SCALE = 5;
        /// dst within −number and number.
        CLAMP = 6;
        /// dst = dst · weight: of the word `src` if `src_stride` is 0, or of one for each value from there on.
        WEIGH = 7;
    }
}

/// Activations.
pub mod activations {
    crate::gpu::kernels::constants! {
        /// The value as it is.
        IDENTITY = 0;
        /// x · sigmoid(x).
        SILU = 1;
        /// By tanh.
        GELU = 2;
        /// By the error function.
        GELU_ERF = 3;
        /// The larger of x and 0.
        RELU = 4;
        /// Its square.
        RELU_SQUARED = 5;
        /// 1 / (1 + exp(−x)).
        SIGMOID = 6;
        /// SwiGLU with limits, as GPT-OSS has it.
        SWIGLU_LIMITED = 7;
        /// What an exponential is above its tangent, below zero.
        EXP_BELOW = 8;
        /// exp(x).
        EXP = 9;
    }
}

parameters! {
    /// A computation on each value of a slot by itself.
    pub struct Elementwise {
        /// Quads; 1 for the residual stream.
        dst: u32,
        dst_stride: u32,
        dst_residual: u32,
        src: u32,
        src_stride: u32,
        /// 1 for the residual stream.
        src_residual: u32,
        /// Quads of a row.
        quads: u32,
        /// One of `kinds`.
        kind: u32,
        number: f32,
        flag: u32,
        /// One of `activations`.
        activation: u32,
        /// Values of a row.
        width: u32,
    }
}

/// The word of [`Elementwise`] at which `number` is.
pub const NUMBER_WORD: usize = 8;
const _: () = assert!(matches!(<Elementwise as super::Parameters>::FIELDS[NUMBER_WORD].name.as_bytes(), b"number"));

/// The number of an activation in shaders.
pub fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => activations::IDENTITY,
        Activation::Silu => activations::SILU,
        Activation::Gelu => activations::GELU,
        Activation::GeluErf => activations::GELU_ERF,
        Activation::Relu => activations::RELU,
        Activation::ReluSquared => activations::RELU_SQUARED,
        Activation::Sigmoid => activations::SIGMOID,
        Activation::SwigluLimited => activations::SWIGLU_LIMITED,
        Activation::ExpBelow => activations::EXP_BELOW,
        Activation::Exp => activations::EXP,
    }
}
