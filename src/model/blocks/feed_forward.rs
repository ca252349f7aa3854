//! The feed-forward of a dense layer.

use crate::error::Result;
use crate::model::builder::{Builder, Layer};
use crate::program::{Activation, Epilogue, Op, Slot};

/// Whether the activation gates another projection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// activation(gate·x) · (up·x), with gate and up separate or fused into `ffn_up`.
    Gated,
    /// activation(up·x)
    Plain,
}

/// What kind of feed-forward.
#[derive(Clone, Copy)]
pub struct FeedForward {
    pub form: Form,
    pub activation: Activation,
    /// Whether the tensors' scales are applied, after the bias: llama.cpp does for some architectures only.
    pub scaled: bool,
}

impl FeedForward {
    /// As Llama has it.
    pub const SWIGLU: FeedForward = FeedForward { form: Form::Gated, activation: Activation::Silu, scaled: false };

    /// The same with the tensors' scales.
    pub const SCALED: FeedForward = FeedForward { scaled: true, ..FeedForward::SWIGLU };

    /// As Gemma has it.
    pub const GEGLU: FeedForward = FeedForward { activation: Activation::Gelu, ..FeedForward::SWIGLU };

    /// As gpt-oss has it.
    pub const LIMITED: FeedForward = FeedForward { activation: Activation::SwigluLimited, ..FeedForward::SWIGLU };

    /// The op that makes of a gate, or of what stands in its place, what is inside.
    pub fn activate(self, gate: Slot, up: Slot) -> Op {
        let activation = self.activation;
        match self.form {
            Form::Plain => Op::Activate { slot: gate, activation },
            Form::Gated => Op::Gate { gate, up, activation },
        }
    }

    /// Without a gate.
    pub const fn plain(activation: Activation) -> FeedForward {
        FeedForward { form: Form::Plain, activation, scaled: false }
    }
}

/// dst = or += down·inner, where inner is made of `src` as `kind` says.
pub fn feed_forward(
    b: &mut Builder,
    l: &Layer,
    kind: FeedForward,
    src: Slot,
    dst: Slot,
    accumulate: bool,
) -> Result<()> {
    let FeedForward { form, scaled, .. } = kind;
    let (gate, up) = (l.slots.gate, l.slots.up);
    let project = |b: &mut Builder, name: &str, src: Slot, dst: Slot, accumulate: bool| {
        let name = l.name(name);
        let epilogue = b.epilogue(&name, b.width(dst))?;
        let scale = epilogue.scale.filter(|_| scaled);
        b.project(&name, src, dst, Epilogue { scale, bias_first: true, accumulate, ..epilogue })
    };
    match form {
        Form::Plain => project(b, "ffn_up", src, gate, false)?,
        Form::Gated if b.has(&l.name("ffn_gate.weight")) => {
            project(b, "ffn_gate", src, gate, false)?;
            project(b, "ffn_up", src, up, false)?;
        }
        Form::Gated => b.fused(&l.name("ffn_up"), src, &[gate, up], scaled)?,
    }
    b.push(kind.activate(gate, up));
    project(b, "ffn_down", gate, dst, accumulate)
}
