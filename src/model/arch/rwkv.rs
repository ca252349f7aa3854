//! RWKV 6 and 7, and their kin with the feed-forward of Qwen 2.

use crate::error::{ChordError, Result};
use crate::model::blocks::{FeedForward, channel_mix, feed_forward, first_stream, put_stream, time_mix_6, time_mix_7};
use crate::model::builder::{Builder, Layer};
use crate::model::config::{Config, LAYERS_MAX, STATE_MAX};
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    let size = keys.size("wkv.head_size", 1, STATE_MAX, None)?;
    if !c.embedding.is_multiple_of(size) {
        return Err(ChordError::model(format!("{} values are no heads of {size}", c.embedding)));
    }
    (c.recurrence.state, c.recurrence.heads) = (size, c.embedding / size);
    c.rescale_every = keys.size("rescale_every_n_layers", 0, LAYERS_MAX, Some(0))?;
    c.layers.iter_mut().for_each(|shape| (shape.mixer, shape.rope, shape.heads) = (Mixer::Recurrent, None, 0));
    Ok(())
}

/// In RWKV 7 values of the first layer pass through all, beside the residual stream.
pub fn configure_7(c: &mut Config, keys: &Keys) -> Result<()> {
    c.streams = 2;
    configure(c, keys)
}

pub fn layer_6(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    time_mix_6(b, l, s.normed, RESIDUAL)?;
    b.norm(&l.name("attn_norm_2"), RESIDUAL, s.normed)?;
    channel_mix(b, l, s.normed, RESIDUAL)?;
    let every = b.config.rescale_every;
    if every > 0 && (l.index + 1).is_multiple_of(every) {
        // Weights of the layers that follow were made smaller with it.
        b.push(Op::Scale { slot: RESIDUAL, factor: 0.5 });
    }
    Ok(())
}

pub fn layer_7(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, stream) = (l.slots, first_stream(b));
    b.norm(&l.name("attn_norm"), stream, s.normed)?;
    time_mix_7(b, l, s.normed, stream)?;
    b.norm(&l.name("attn_norm_2"), stream, s.normed)?;
    channel_mix(b, l, s.normed, stream)?;
    put_stream(b, stream, 0);
    Ok(())
}

pub fn layer_6_qwen(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    time_mix_6(b, l, s.normed, RESIDUAL)?;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, RESIDUAL, true)
}

pub fn layer_7_qwen(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, stream) = (l.slots, first_stream(b));
    b.norm(&l.name("attn_norm"), stream, s.normed)?;
    time_mix_7(b, l, s.normed, stream)?;
    b.norm(&l.name("ffn_norm"), stream, s.normed)?;
    feed_forward(b, l, FeedForward::SWIGLU, s.normed, stream, true)?;
    put_stream(b, stream, 0);
    Ok(())
}
