//! BLOOM: ALiBi, and a norm of the embedding.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    let alibi = Some(keys.nonzero("attention.max_alibi_bias")?.unwrap_or(8.0));
    c.layers.iter_mut().for_each(|shape| (shape.rope, shape.alibi) = (None, alibi));
    Ok(())
}

pub use super::starcoder2::layer;
