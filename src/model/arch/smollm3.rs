//! SmolLM3: Llama whose every fourth layer does not rotate.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.layers.iter_mut().skip(3).step_by(4).for_each(|shape| shape.rope = None);
    Ok(())
}

pub use super::qwen2::layer;
