//! The architectures, one row each, by the names of `general.architecture`.

use super::arch::*;
use super::builder::{Builder, Layer};
use super::config::Config;
use super::keys::Keys;
use crate::error::{ChordError, ErrorCode, Result};
use crate::program::Norm::{self, Rms};
use crate::program::RopeStyle::{self, Halves, Interleaved};

/// What there is to know of an architecture.
pub struct Architecture {
    pub name: &'static str,
    /// How pairs of its heads rotate, and how its rows are normalised.
    pub rope: RopeStyle,
    pub norm: Norm,
    /// Reads what its files have beside the keys that all architectures share.
    pub configure: fn(&mut Config, &Keys) -> Result<()>,
    /// Writes a layer.
    pub layer: fn(&mut Builder, &Layer) -> Result<()>,
}

/// All architectures.
pub const REGISTRY: &[Architecture] = &[
    row("llama", Interleaved, Rms, llama::configure, llama::layer),
    row("qwen2", Halves, Rms, qwen2::configure, qwen2::layer),
    row("qwen3", Halves, Rms, qwen3::configure, qwen3::layer),
    row("gemma2", Halves, Rms, gemma2::configure, gemma2::layer),
    row("gemma3", Halves, Rms, gemma3::configure, gemma3::layer),
    row("phi3", Halves, Rms, phi3::configure, phi3::layer),
    row("smollm3", Interleaved, Rms, smollm3::configure, smollm3::layer),
];

const fn row(
    name: &'static str,
    rope: RopeStyle,
    norm: Norm,
    configure: fn(&mut Config, &Keys) -> Result<()>,
    layer: fn(&mut Builder, &Layer) -> Result<()>,
) -> Architecture {
    Architecture { name, rope, norm, configure, layer }
}

/// The architecture of this name.
pub fn architecture(name: &str) -> Result<&'static Architecture> {
    REGISTRY.iter().find(|architecture| architecture.name == name).ok_or_else(|| {
        let known: Vec<_> = REGISTRY.iter().map(|architecture| architecture.name).collect();
        ChordError::new(
            ErrorCode::UnsupportedArchitecture,
            format!("architecture '{name}' is not supported; supported are {}", known.join(", ")),
        )
        .with("architecture", name)
    })
}
