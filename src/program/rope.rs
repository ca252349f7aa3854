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
    pub style: RopeStyle,
    pub base: f32,
    /// Linear scaling of positions: 1 / factor.
    pub frequency_scale: f32,
    /// YaRN's share of extrapolation: 0 is pure linear scaling.
    pub extrapolation: f32,
    /// Magnitude of the rotated vectors.
    pub attention_factor: f32,
    pub beta_fast: f32,
    pub beta_slow: f32,
    /// The context length that the model was first trained with.
    pub original_context: f32,
    /// Per-frequency divisors (`rope_freqs`, `rope_factors_long|short`), `dims / 2` values, F32.
    pub factors: Option<WeightId>,
}
