//! Qwen 1: fused projections with a bias, and a feed-forward of half the width that its file tells.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.layers.iter_mut().for_each(|shape| shape.feed_forward /= 2);
    Ok(())
}

pub use super::qwen2::layer;
