//! MiniCPM 3: latent attention, with factors of embedding, residuals and logits that no file tells.

use crate::error::Result;
use crate::model::blocks::{FeedForward, feed_forward, latent_attention};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::RESIDUAL;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = 12.0;
    c.residual_scale = 1.4 / (c.layers.len() as f32).sqrt();
    c.logit_scale = 256.0 / c.embedding as f32;
    c.read_latent(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    let attended = latent_attention(b, l, s.normed)?;
    b.linear(&l.name("attn_output"), attended, s.output)?;
    b.join(s.output);

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, s.output, false)?;
    b.join(s.output);
    Ok(())
}
