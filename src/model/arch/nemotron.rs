//! Nemotron 4 and Minitron: layer norms, and a feed-forward by squares without a gate.

use crate::error::Result;
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::Activation;

pub fn configure(_: &mut Config, _: &Keys) -> Result<()> {
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    super::starcoder2::plain_layer(b, l, Activation::ReluSquared)
}
