//! GLM 4.5: after the first layers, experts by sigmoid with a bias of their choice, beside others that every token
//! uses. The norm before them is called one after attention.

use crate::error::Result;
use crate::model::blocks::{
    FeedForward, attend, experts, feed_forward, norm_heads, project_qkv, rotate, shared_experts,
};
use crate::model::builder::{Builder, Layer};
use crate::program::RESIDUAL;

pub use super::dots1::configure;

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    if b.has(&l.name("attn_q_norm.weight")) {
        norm_heads(b, l)?;
    }
    rotate(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("post_attention_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => {
            experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
            shared_experts(b, l, FeedForward::SWIGLU, s.normed)
        }
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}
