//! gpt-oss: attention sinks, every other layer slides over a window, and experts with biases, of which the chosen
//! share the weight.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, experts};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{RESIDUAL, Scores};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    for experts in c.experts() {
        (experts.scores, experts.normalise) = (Scores::SoftmaxOfChosen, false);
    }
    c.slide(keys, 2)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("post_attention_norm"), RESIDUAL, s.normed)?;
    experts(b, l, FeedForward::LIMITED, s.normed, s.normed)
}
