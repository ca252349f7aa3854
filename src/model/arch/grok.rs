//! Grok 1 and 2: norms before and after each block, soft caps of scores, and experts, in the second beside a feed-forward.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, expert_output, feed_forward, join_experts, route};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    // The defaults are those of Grok 1, whose files do not tell them.
    c.logit_scale = keys.nonzero("logit_scale")?.unwrap_or(0.577_350_26);
    c.embedding_scale = keys.nonzero("embedding_scale")?.unwrap_or(78.383_67);
    c.final_softcap = keys.nonzero("final_logit_softcapping")?;
    let scale = keys.nonzero("attention.output_scale")?.unwrap_or(0.088_388_346);
    let softcap = keys.nonzero_or("attn_logit_softcapping", 30.0)?;
    let beta_fast = keys.float("rope.scaling.yarn_beta_fast", 8.0)?;
    for shape in &mut c.layers {
        (shape.attention_scale, shape.softcap) = (scale, softcap);
        shape.rope.iter_mut().for_each(|rope| rope.beta_fast = beta_fast);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear(&l.name("attn_output"), s.attended, s.output)?;
    b.norm(&l.name("attn_output_norm"), s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    route(b, l, s.normed)?;
    if b.has(&l.name("ffn_up.weight")) {
        let dense = l.dense(b);
        feed_forward(b, &dense, FeedForward::GEGLU, s.normed, s.output, false)?;
        join_experts(b, l, FeedForward::GEGLU, s.normed, s.output)?;
        b.push(Op::Scale { slot: s.output, factor: std::f32::consts::FRAC_1_SQRT_2 });
    } else {
        expert_output(b, l, FeedForward::GEGLU, s.normed)?;
    }
    let norms = ["layer_output_norm", "post_ffw_norm"].map(|name| l.name(name));
    let norm = if b.has(&format!("{}.weight", norms[0])) { &norms[0] } else { &norms[1] };
    b.norm(norm, s.output, s.output)?;
    b.push(Op::Add { src: s.output, dst: RESIDUAL });
    Ok(())
}
