//! Rotary position embedding, as an op names it.

use super::WeightId;

/// A rotation of [`super::Program::ropes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RopeId(pub u16);

/// How pairs of a head are formed for the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours (2i, 2i+1) rotate together, as in Llama.
    Interleaved,
    /// Halves (i, i + dims/2) rotate together, as in GPT-NeoX.
    Halves,
}

/// Rotary position embedding with the scalings of llama.cpp's `rope_yarn`.
/// θ_i = position · base^(−2i/dims) / `factors[i]`, then linear scaling and the YaRN ramp.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Values of each head that rotate; the rest pass through.
    pub dims: usize,
    /// Which two values turn together.
    pub style: RopeStyle,
    /// The base of the angles; above zero, 10000 unless the file says otherwise.
    pub base: f32,
    /// Linear scaling of positions: 1 / factor.
    pub frequency_scale: f32,
    /// YaRN's share of extrapolation: 0 is pure linear scaling.
    pub extrapolation: f32,
    /// Magnitude of the rotated vectors.
    pub attention_factor: f32,
    /// Turns over the original context from which on YaRN leaves a frequency as it is; 32 in the paper,
    /// <https://arxiv.org/abs/2309.00071>.
    pub beta_fast: f32,
    /// Turns up to which it is scaled wholly; 1 in the paper. Between the two stands the ramp.
    pub beta_slow: f32,
    /// The context length that the model was first trained with.
    pub original_context: f32,
    /// Per-frequency divisors (`rope_freqs`, `rope_factors_long|short`), `dims / 2` values, F32.
    pub factors: Option<WeightId>,
}
