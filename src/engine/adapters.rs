//! The adapters that an engine was opened with, and how much of each there is in what a request computes.

use super::Engine;
use super::sequence::{SEED, Used, fold};
use crate::error::{ChordError, Result};
use crate::gguf::Header;
use serde::Deserialize;

/// An adapter of the engine, or in a request, and how much of it: its change of the weights is multiplied by `scale`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "AdapterScale", optional_fields))]
#[serde(deny_unknown_fields)]
pub struct AdapterScale {
    /// As the caller calls it.
    pub name: String,
    /// 1 where nothing else is said; 0 leaves the model as it is.
    pub scale: Option<f32>,
}

/// What is known of an adapter.
struct Known {
    name: String,
    scale: f32,
    /// Tells it from others, as far as its header does.
    hash: u64,
}

/// All adapters of an engine.
pub struct Adapters(Vec<Known>);

impl AdapterScale {
    fn value(&self) -> f32 {
        self.scale.unwrap_or(1.0)
    }
}

impl Adapters {
    /// Those of these options, of whose files nothing is known.
    pub fn of(options: &[AdapterScale]) -> Adapters {
        let known = |adapter: &AdapterScale| Known { name: adapter.name.clone(), scale: adapter.value(), hash: SEED };
        Adapters(options.iter().map(known).collect())
    }

    /// Those of these options, with their headers.
    pub fn new(options: &[AdapterScale], headers: &[Header]) -> Adapters {
        let mut adapters = Adapters::of(options);
        for (known, header) in adapters.0.iter_mut().zip(headers) {
            let metadata = serde_json::Value::from(header.metadata.to_json()).to_string();
            known.hash = [known.name.as_str(), &metadata].iter().fold(SEED, |hash, text| fold(hash, text.as_bytes()));
            for tensor in &header.tensors {
                let shape = tensor.dimensions.iter().chain([&tensor.offset]);
                known.hash = fold(fold(known.hash, tensor.name.as_bytes()), tensor.dtype.name().as_bytes());
                known.hash = shape.fold(known.hash, |hash, number| fold(hash, &number.to_le_bytes()));
            }
        }
        adapters
    }

    /// The scales for requests that name none.
    pub fn defaults(&self) -> Vec<f32> {
        self.0.iter().map(|known| known.scale).collect()
    }

    /// The scales for a request that names these: those that it leaves out have no part in it.
    pub fn scales(&self, asked: &[AdapterScale]) -> Result<Vec<f32>> {
        check(asked)?;
        let unknown = |name: &str| self.0.iter().all(|known| known.name != name);
        if let Some(AdapterScale { name, .. }) = asked.iter().find(|adapter| unknown(&adapter.name)) {
            let names: Vec<&str> = self.0.iter().map(|known| known.name.as_str()).collect();
            let has = if names.is_empty() { "none".into() } else { names.join(", ") };
            let text = format!("'adapters' names '{name}'; the engine was opened with {has}");
            return Err(ChordError::parameter("adapters", text));
        }
        let scale =
            |known: &Known| asked.iter().find(|adapter| adapter.name == known.name).map_or(0.0, AdapterScale::value);
        Ok(self.0.iter().map(scale).collect())
    }

    /// Which adapters change something under these scales, and how much.
    pub fn used(&self, scales: &[f32]) -> Vec<Used> {
        let all = self.0.iter().zip(scales).map(|(known, scale)| (known.hash, *scale));
        all.filter(|(_, scale)| *scale != 0.0).collect()
    }

    /// The scales under which these adapters are used; none where one of them is not known.
    pub fn scales_of(&self, used: &[Used]) -> Option<Vec<f32>> {
        let mut scales = vec![0.0; self.0.len()];
        for (hash, scale) in used {
            let at = self.0.iter().position(|known| known.hash == *hash)?;
            scales[at] = *scale;
        }
        Some(scales)
    }

    /// Joins what of the adapters changes something under these scales to a hash.
    pub fn fold(&self, hash: u64, scales: &[f32]) -> u64 {
        let join = |sum: u64, (hash, scale): Used| fold(fold(sum, &hash.to_le_bytes()), &scale.to_le_bytes());
        self.used(scales).into_iter().fold(hash, join)
    }
}

impl Engine {
    /// Computes with these scales of the adapters from now on. False if what the sequence holds was computed with others,
    /// and is of no use.
    pub(super) fn adapt(&mut self, scales: Vec<f32>) -> bool {
        if self.scales != scales {
            self.compute.backend.adapt(&scales);
            self.scales.clone_from(&scales);
        }
        let is_alike = self.sequence.scales == scales;
        self.sequence.scales = scales;
        is_alike
    }
}

/// Refuses a name that stands twice, and scales that are no numbers.
pub fn check(adapters: &[AdapterScale]) -> Result<()> {
    for (number, AdapterScale { name, scale }) in adapters.iter().enumerate() {
        let text = if adapters[..number].iter().any(|other| other.name == *name) {
            format!("'adapters' names '{name}' twice")
        } else if scale.is_some_and(|scale| !scale.is_finite()) {
            format!("the scale of adapter '{name}' is no finite number")
        } else {
            continue;
        };
        return Err(ChordError::parameter("adapters", text));
    }
    Ok(())
}
