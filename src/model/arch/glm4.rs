//! GLM 4: norms before and after each block, and rotation of a part of each head.

use super::gemma2;
use crate::error::Result;
use crate::model::blocks::{FeedForward, attention};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{RESIDUAL, RopeStyle};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    // Files of models that see have sections of the rotation, which then pairs halves.
    let sections = keys.metadata.opt_u32_or_array(&keys.key("rope.dimension_sections"), 4)?.unwrap_or_default();
    if sections.iter().take(2).filter(|section| **section > 0).count() == 2 {
        c.layers.iter_mut().filter_map(|shape| shape.rope.as_mut()).for_each(|rope| rope.style = RopeStyle::Halves);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    gemma2::behind_attention(b, l, FeedForward::SWIGLU)
}
