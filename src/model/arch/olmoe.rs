//! OLMoE: a mixture of experts whose weights are not normalised, with norms over all queries and all keys.

use crate::error::Result;
use crate::model::blocks::{FeedForward, experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    c.experts().for_each(|experts| experts.normalise = false);
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    super::olmo2::attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    experts(b, l, FeedForward::SWIGLU, s.normed, s.normed)
}
