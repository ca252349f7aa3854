//! Mamba 1, Falcon Mamba and Mamba 2: scans alone.

use crate::error::Result;
use crate::model::blocks::{mamba, mamba2};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_recurrence(keys)?;
    c.recurrence.normalises = keys.flag("ssm.dt_b_c_rms", false)?;
    for shape in &mut c.layers {
        (shape.mixer, shape.heads, shape.rope) = (Mixer::Recurrent, 0, None);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    b.norm(&l.name("attn_norm"), RESIDUAL, l.slots.normed)?;
    let mixed = mamba(b, l, l.slots.normed)?;
    b.linear_add(&l.name("ssm_out"), mixed, RESIDUAL)
}

pub fn layer_of_2(b: &mut Builder, l: &Layer) -> Result<()> {
    b.norm(&l.name("attn_norm"), RESIDUAL, l.slots.normed)?;
    let mixed = mamba2(b, l, l.slots.normed)?;
    b.linear_add(&l.name("ssm_out"), mixed, RESIDUAL)
}
