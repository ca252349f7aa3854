//! OpenELM: Qwen 3's layer with as many heads in each as its file says.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attend, feed_forward, norm_heads, rotate};
use crate::model::builder::{Builder, Layer};
use crate::program::RESIDUAL;

pub use super::qwen3::configure;

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    b.fused(&l.name("attn_qkv"), s.normed, &[s.query, s.key, s.value], false)?;
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}
