//! Hunyuan's models, dense and with experts beside others that every token uses, and Maincoder: norms over heads after
//! the rotation.

use crate::error::Result;
use crate::model::blocks::{
    FeedForward, attend, experts, feed_forward, norm_heads, project_qkv, rotate, shared_experts,
};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

/// Experts are as wide as the feed-forward that the file tells, and so are those for all where it does not say.
pub fn configure_experts(c: &mut Config, _: &Keys) -> Result<()> {
    c.share_by_width();
    for shape in &mut c.layers {
        let width = shape.feed_forward;
        shape.experts.iter_mut().for_each(|experts| experts.feed_forward = width);
    }
    Ok(())
}

/// Of the models that see: bases of rotations grow as the file says.
pub fn configure_vision(c: &mut Config, keys: &Keys) -> Result<()> {
    let Some(alpha) = keys.nonzero("rope.scaling.alpha")?.filter(|alpha| *alpha > 0.0) else { return Ok(()) };
    for shape in &mut c.layers {
        let dim = shape.key_length as f32;
        let Some(rope) = shape.rope.as_mut().filter(|_| dim > 2.0) else { continue };
        rope.base *= alpha.powf(dim / (dim - 2.0));
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    project_qkv(b, l, s.normed)?;
    rotate(b, l)?;
    norm_heads(b, l)?;
    attend(b, l)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => {
            experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)?;
            shared_experts(b, l, FeedForward::SWIGLU, s.normed)
        }
        None => feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true),
    }
}
