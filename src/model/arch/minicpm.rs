//! MiniCPM: Llama with factors of embedding, residuals and logits, which older files do not tell.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = keys.nonzero("embedding_scale")?.unwrap_or(12.0);
    let residual = 1.4 / (c.layers.len() as f32).sqrt();
    c.residual_scale = keys.nonzero("residual_scale")?.unwrap_or(residual);
    let logits = 256.0 / c.embedding as f32;
    c.logit_scale = keys.nonzero("logit_scale")?.map_or(logits, |scale| 1.0 / scale);
    Ok(())
}

pub use super::granite::layer;
