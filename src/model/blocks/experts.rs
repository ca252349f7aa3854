//! A mixture of experts.

use super::feed_forward::FeedForward;
use crate::error::{ChordError, Result};
use crate::model::builder::{Builder, Layer};
use crate::program::{Epilogue, Op, RESIDUAL, Routing, Slot};

/// residual += the experts' outputs for `src`, weighted by the router's choice from `routed`.
pub fn experts(b: &mut Builder, l: &Layer, kind: FeedForward, routed: Slot, src: Slot) -> Result<()> {
    let (Some(shape), Some(s)) = (&l.shape.experts, l.slots.experts) else {
        return Err(ChordError::model("a layer of experts in a model without them"));
    };
    let (count, used, embedding) = (shape.count, shape.used, b.config.embedding);
    b.linear(&l.name("ffn_gate_inp"), routed, s.logits)?;
    let routing = Routing {
        scores: shape.scores,
        bias: b.optional(&l.name("exp_probs_b.bias"), count)?,
        normalise: shape.normalise,
        scale: shape.scale * b.config.residual_scale,
    };
    b.push(Op::Route { logits: s.logits, choice: s.choice, used, routing });
    for (name, src, dst, shared) in
        [("gate", src, s.gate, true), ("up", src, s.up, true), ("down", s.gate, s.outputs, false)]
    {
        if name == "down" {
            b.push(Op::Gate { gate: s.gate, up: s.up, activation: kind.activation });
        }
        let name = l.name(&format!("ffn_{name}_exps"));
        let (rows, columns) = if shared { (shape.feed_forward, embedding) } else { (embedding, shape.feed_forward) };
        let view = b.matrix(&format!("{name}.weight"), rows, columns, count)?;
        let scale = b.optional(&format!("{name}.scale"), count)?.filter(|_| kind.scaled);
        let bias = b.optional(&format!("{name}.bias"), count * rows)?;
        b.push(Op::ExpertMatMul { view, src, shared, dst, choice: s.choice, used, scale, bias });
    }
    b.push(Op::ExpertSum { src: s.outputs, dst: RESIDUAL, choice: s.choice, used });
    Ok(())
}

/// residual += the output of the experts that every token uses.
pub fn shared_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    let (gate, up) = (l.slots.gate, l.slots.up);
    let project = |b: &mut Builder, name: &str, src: Slot, dst: Slot| {
        let name = l.name(name);
        let epilogue = b.epilogue(&name, b.width(dst))?;
        let scale = epilogue.scale.filter(|_| kind.scaled);
        b.project(&name, src, dst, Epilogue { scale, ..epilogue })
    };
    project(b, "ffn_gate_shexp", src, gate)?;
    project(b, "ffn_up_shexp", src, up)?;
    b.push(Op::Gate { gate, up, activation: kind.activation });
    project(b, "ffn_down_shexp", gate, l.slots.output)?;
    b.join(l.slots.output);
    Ok(())
}
