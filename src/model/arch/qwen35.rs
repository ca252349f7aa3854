//! Qwen 3.5 and Qwen 3 Next, dense and with experts: three of four layers are gated delta nets, and attention is gated
//! by a second half of its queries.

use crate::error::Result;
use crate::model::blocks::{
    DeltaNet, FeedForward, attend, copy_runs, delta_net, experts, feed_forward, gated_shared_experts, norm_heads,
    rotate,
};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::model::shape::Mixer;
use crate::program::{Activation, Op, RESIDUAL, Runs};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_recurrence(keys)?;
    c.share_by_width();
    c.recur_between(keys)
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    mix(b, l, delta)
}

pub fn layer_of_next(b: &mut Builder, l: &Layer) -> Result<()> {
    mix(b, l, delta_of_next)
}

fn mix(b: &mut Builder, l: &Layer, delta: fn(&mut Builder, &Layer) -> Result<()>) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    match l.shape.mixer {
        Mixer::Recurrent | Mixer::None => delta(b, l)?,
        Mixer::Attention => attention(b, l)?,
    }
    b.norm(&l.name("post_attention_norm"), RESIDUAL, s.normed)?;
    match l.shape.experts {
        Some(_) => {
            experts(b, l, FeedForward::SCALED, s.normed, s.normed)?;
            gated_shared_experts(b, l, FeedForward::SCALED, s.normed)
        }
        None => feed_forward(b, l, FeedForward::SCALED, s.normed, RESIDUAL, true),
    }
}

/// residual += out·(attention · sigmoid(gate)), with a query and a gate for each head in one projection.
fn attention(b: &mut Builder, l: &Layer) -> Result<()> {
    let (s, dim, heads) = (l.slots, l.shape.key_length, l.shape.heads);
    let both = b.slot("query and gate", 2 * heads * dim);
    let gate = b.slot("attention gate", heads * dim);
    b.linear(&l.name("attn_q"), s.normed, both)?;
    b.linear(&l.name("attn_k"), s.normed, s.key)?;
    b.linear(&l.name("attn_v"), s.normed, s.value)?;
    let to = Runs { first: 0, step: dim };
    copy_runs(b, both, Runs { first: 0, step: 2 * dim }, s.query, to, dim, heads);
    copy_runs(b, both, Runs { first: dim, step: 2 * dim }, gate, to, dim, heads);
    norm_heads(b, l)?;
    rotate(b, l)?;
    attend(b, l)?;
    b.push(Op::Gate { gate, up: s.attended, activation: Activation::Sigmoid });
    b.linear_add(&l.name("attn_output"), gate, RESIDUAL)
}

fn slots(b: &mut Builder) -> DeltaNet {
    let r = b.config.recurrence;
    DeltaNet {
        mixed: b.slot("delta mixed", (2 * r.groups + r.heads) * r.state),
        gate: b.slot("delta gate", r.heads * r.state),
        decay: b.slot("delta decay", r.heads),
        beta: b.slot("delta beta", r.heads),
    }
}

fn delta(b: &mut Builder, l: &Layer) -> Result<()> {
    let (normed, d) = (l.slots.normed, slots(b));
    b.linear(&l.name("attn_qkv"), normed, d.mixed)?;
    b.linear(&l.name("attn_gate"), normed, d.gate)?;
    b.linear(&l.name("ssm_beta"), normed, d.beta)?;
    b.linear(&l.name("ssm_alpha"), normed, d.decay)?;
    delta_net(b, l, &d, true)?;
    b.linear_add(&l.name("ssm_out"), d.gate, RESIDUAL)
}

/// Of Qwen 3 Next, whose older files have all of a group's projections side by side.
fn delta_of_next(b: &mut Builder, l: &Layer) -> Result<()> {
    let (normed, d, r) = (l.slots.normed, slots(b), b.config.recurrence);
    let (heads, share) = (r.heads, r.heads / r.groups);
    if b.has(&l.name("attn_qkv.weight")) {
        b.linear_unscaled(&l.name("attn_qkv"), normed, d.mixed)?;
        b.linear_unscaled(&l.name("attn_gate"), normed, d.gate)?;
    } else {
        let (keys, values) = (r.state, share * r.state);
        let all = b.slot("delta projections", 2 * (r.groups + heads) * r.state);
        b.linear_unscaled(&l.name("ssm_in"), normed, all)?;
        let mut first = 0;
        for (dst, begin, run) in [
            (d.mixed, 0, keys),
            (d.mixed, r.groups * keys, keys),
            (d.mixed, 2 * r.groups * keys, values),
            (d.gate, 0, values),
        ] {
            let (from, to) = (Runs { first, step: 2 * (keys + values) }, Runs { first: begin, step: run });
            copy_runs(b, all, from, dst, to, run, r.groups);
            first += run;
        }
    }
    let both = b.slot("delta beta and decay", 2 * heads);
    b.linear_unscaled(&l.name("ssm_ba"), normed, both)?;
    for (first, dst) in [(0, d.beta), (share, d.decay)] {
        let (from, to) = (Runs { first, step: 2 * share }, Runs { first: 0, step: share });
        copy_runs(b, both, from, dst, to, share, r.groups);
    }
    delta_net(b, l, &d, false)?;
    let epilogue = crate::program::Epilogue { accumulate: true, ..Default::default() };
    b.project(&l.name("ssm_out"), d.gate, RESIDUAL, epilogue)
}
