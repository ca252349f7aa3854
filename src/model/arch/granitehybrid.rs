//! Granite 4 with layers of Mamba 2 in place of most of its attention.

use crate::error::Result;
use crate::model::blocks::{attention, mamba2};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    super::granite::configure(c, keys)?;
    c.read_recurrence(keys)?;
    c.recur_without_heads(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => {
            let mixed = mamba2(b, l, s.normed)?;
            b.linear(&l.name("ssm_out"), mixed, s.output)?;
        }
        Mixer::Attention => {
            attention(b, l, s.normed)?;
            b.linear(&l.name("attn_output"), s.attended, s.output)?;
        }
    }
    b.join(s.output);
    super::granite::feed(b, l)
}
