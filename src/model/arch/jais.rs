//! Jais: ALiBi, gates, and scores that are divided by the width of a head.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    super::bloom::configure(c, keys)?;
    c.layers.iter_mut().for_each(|shape| shape.attention_scale = 1.0 / shape.key_length as f32);
    Ok(())
}
