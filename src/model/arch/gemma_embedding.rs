//! EmbeddingGemma: the layers of Gemma 3, where tokens attend to those after them, too.

use super::{gemma2, gemma3};
use crate::error::Result;
use crate::model::blocks::{FeedForward, attention_ahead};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.look_ahead();
    c.slide_both_ways(keys, Config::slide_by, 6)?;
    gemma3::rotate_sliding(c, keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    attention_ahead(b, l, Some("attn_norm"))?;
    gemma2::behind_attention(b, l, FeedForward::GEGLU)
}
