//! Qwen 3's mixtures of experts.

use crate::error::Result;
use crate::model::blocks::{FeedForward, experts};
use crate::model::builder::{Builder, Layer};
use crate::program::RESIDUAL;

pub use super::qwen3::configure;

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    super::qwen3::attention_block(b, l)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, l.slots.normed)?;
    experts(b, l, FeedForward::SCALED, l.slots.normed, l.slots.normed)
}
