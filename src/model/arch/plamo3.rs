//! PLaMo 3: norms over heads, before and after each block, one projection of queries, keys and values, and seven of eight
//! layers that slide over a window, by a base of their own.

use super::{gemma2, gemma3};
use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, norm_heads, project_qkv, rotate};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.slide(keys, 8)?;
    gemma3::rotate_sliding(c, keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    gemma2::behind_attention(b, l, FeedForward::SWIGLU)
}
