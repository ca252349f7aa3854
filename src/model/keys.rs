//! Metadata under an architecture's prefix, checked as it is read.

use crate::error::{ChordError, Result};
use crate::gguf::{Metadata, Value};

/// Reads the keys of one architecture.
pub struct Keys<'a> {
    pub metadata: &'a Metadata,
    pub prefix: &'a str,
}

impl Keys<'_> {
    /// The whole key.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A size between `least` and `most`; `default` when the key is absent or, as some writers do, zero.
    pub fn size(&self, name: &str, least: usize, most: usize, default: Option<usize>) -> Result<usize> {
        let key = self.key(name);
        let value = self.metadata.opt_u64(&key)?;
        checked(&key, value, least, most, default)
    }

    /// The same for each of so many layers, from an array or from one value for all.
    pub fn sizes(
        &self,
        name: &str,
        layers: usize,
        least: usize,
        most: usize,
        default: Option<usize>,
    ) -> Result<Vec<usize>> {
        let key = self.key(name);
        match self.metadata.get(&key) {
            Some(Value::Array(_)) => {
                let values = self.metadata.u32_or_array(&key, layers)?;
                values.iter().map(|value| checked(&key, Some(u64::from(*value)), least, most, default)).collect()
            }
            _ => Ok(vec![self.size(name, least, most, default)?; layers]),
        }
    }

    /// A number, finite.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        let key = self.key(name);
        let value = self.metadata.opt_f32(&key)?.unwrap_or(default);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(ChordError::model(format!("'{key}' is {value}")).with("key", key))
        }
    }

    /// A number that stands for none where it is zero.
    pub fn nonzero(&self, name: &str) -> Result<Option<f32>> {
        self.float(name, 0.0).map(|value| (value != 0.0).then_some(value))
    }

    /// The same with a default for a key that is absent.
    pub fn nonzero_or(&self, name: &str, default: f32) -> Result<Option<f32>> {
        self.float(name, default).map(|value| (value != 0.0).then_some(value))
    }

    /// True or false.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let values = self.metadata.opt_bool_or_array(&self.key(name), 1)?;
        Ok(values.map_or(default, |values| values[0]))
    }
}

fn checked(key: &str, value: Option<u64>, least: usize, most: usize, default: Option<usize>) -> Result<usize> {
    let value = match (value, default) {
        (None | Some(0), Some(default)) => default as u64,
        (None, None) => return Err(ChordError::model(format!("'{key}' is missing")).with("key", key)),
        (Some(value), _) => value,
    };
    if value < least as u64 || value > most as u64 {
        return Err(ChordError::model(format!("'{key}' is {value}, outside {least} to {most}")).with("key", key));
    }
    Ok(value as usize)
}
