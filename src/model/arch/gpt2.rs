//! GPT-2 and StarCoder 1: a table of positions in place of rotation.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.layers.iter_mut().for_each(|shape| shape.rope = None);
    Ok(())
}

pub use super::starcoder2::layer;
