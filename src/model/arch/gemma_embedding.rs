//! EmbeddingGemma: the layers of Gemma 3, where tokens attend to those after them, too.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention_ahead, feed_forward};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.embedding_scale = (c.embedding as f32).sqrt();
    c.look_ahead();
    c.slide_both_ways(keys, Config::slide_by, 6)?;
    let base = keys.float("rope.freq_base_swa", 10_000.0)?;
    for rope in c.sliding().filter_map(|shape| shape.rope.as_mut()) {
        (rope.base, rope.frequency_scale) = (base, 1.0);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    attention_ahead(b, l, Some("attn_norm"))?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("post_attention_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::GEGLU, s.normed, s.output, false)?;
    b.norm(&l.name("post_ffw_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
