//! A mixture of experts.

use super::feed_forward::{FeedForward, Form};
use super::recurrent::take_columns;
use crate::error::{ChordError, Result};
use crate::model::builder::{Builder, ExpertSlots, Layer};
use crate::model::shape::Experts;
use crate::program::{Activation, Epilogue, Op, RESIDUAL, Routing, Runs, Slot};

/// residual += the experts' outputs for `src`, weighted by the router's choice from `routed`.
pub fn experts(b: &mut Builder, l: &Layer, kind: FeedForward, routed: Slot, src: Slot) -> Result<()> {
    route(b, l, routed)?;
    chosen_experts(b, l, kind, src)
}

/// The layer's mixture, with its slots.
fn mixture<'a>(l: &'a Layer) -> Result<(&'a Experts, ExpertSlots)> {
    match (&l.shape.experts, l.slots.experts) {
        (Some(shape), Some(slots)) => Ok((shape, slots)),
        _ => Err(ChordError::model("a layer of experts in a model without them")),
    }
}

/// Chooses experts from `routed`.
pub fn route(b: &mut Builder, l: &Layer, routed: Slot) -> Result<()> {
    let (shape, s) = mixture(l)?;
    let (count, used) = (shape.count, shape.used);
    b.linear(&l.name("ffn_gate_inp"), routed, s.logits)?;
    let routing = Routing {
        scores: shape.scores,
        bias: b.optional(&l.name("exp_probs_b.bias"), count)?,
        normalise: shape.normalise,
        scale: shape.scale * b.config.residual_scale,
    };
    b.push(Op::Route { logits: s.logits, choice: s.choice, used, routing });
    Ok(())
}

/// residual += the chosen experts' outputs for `src`, weighted by the choice.
pub fn chosen_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    join_experts(b, l, kind, src, RESIDUAL)
}

/// dst += the same.
pub fn join_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot, dst: Slot) -> Result<()> {
    let (shape, s) = mixture(l)?;
    expert_outputs(b, l, kind, src, false)?;
    b.push(Op::ExpertSum { src: s.outputs, dst, choice: s.choice, used: shape.used });
    Ok(())
}

/// output = the same.
pub fn expert_output(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    // Sums begin with nothing: a row of this layer times zero, so that values which are no numbers stay so.
    let output = l.slots.output;
    take_columns(b, src, 0, output);
    b.push(Op::Scale { slot: output, factor: 0.0 });
    join_experts(b, l, kind, src, output)
}

/// residual += the outputs of the experts that are chosen from `src`, for `src` times the weight of each.
pub fn weighed_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    let (shape, s) = mixture(l)?;
    route(b, l, src)?;
    expert_outputs(b, l, kind, src, true)?;
    let embedding = b.config.embedding;
    for rank in 0..shape.used {
        take_columns(b, s.outputs, rank * embedding, l.slots.output);
        b.push(Op::Add { src: l.slots.output, dst: RESIDUAL });
    }
    Ok(())
}

/// outputs = those of the chosen experts for `src`, which is multiplied by the weight of each first if it `is_weighed`.
fn expert_outputs(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot, is_weighed: bool) -> Result<()> {
    let (shape, s) = mixture(l)?;
    let (count, used, embedding) = (shape.count, shape.used, b.config.embedding);
    let inner = shape.feed_forward;
    let multiply = |b: &mut Builder, name: &str, src: Slot, dst: Slot, [rows, columns]: [usize; 2], shared: bool| {
        let name = l.name(&format!("ffn_{name}_exps"));
        let view = b.matrix(&format!("{name}.weight"), rows, columns, count)?;
        let scale = b.optional(&format!("{name}.scale"), count)?.filter(|_| kind.scaled);
        let bias = b.optional(&format!("{name}.bias"), count * rows)?;
        b.push(Op::ExpertMatMul { view, src, shared, dst, choice: s.choice, used, scale, bias });
        Ok::<(), ChordError>(())
    };
    if kind.form == Form::Plain {
        multiply(b, "up", src, s.gate, [inner, embedding], true)?;
    } else if b.has(&l.name("ffn_gate_up_exps.weight")) {
        let both = b.slot("expert gate and up", 2 * inner * used);
        multiply(b, "gate_up", src, both, [2 * inner, embedding], true)?;
        for (first, dst) in [(0, s.gate), (inner, s.up)] {
            let (from, to) = (Runs { first, step: 2 * inner }, Runs { first: 0, step: inner });
            b.push(Op::Copy { src: both, dst, run: inner, count: used, from, to });
        }
    } else {
        multiply(b, "gate", src, s.gate, [inner, embedding], true)?;
        multiply(b, "up", src, s.up, [inner, embedding], true)?;
    }
    if is_weighed {
        // Products with a row times a number are those with the row, times the number.
        let weights = b.slot("expert weights", used * inner);
        for rank in 0..used {
            let (from, to) = (Runs { first: used + rank, step: 0 }, Runs { first: rank * inner, step: 1 });
            b.push(Op::Copy { src: s.choice, dst: weights, run: 1, count: inner, from, to });
        }
        [s.gate, s.up].into_iter().for_each(|slot| super::multiply(b, slot, weights));
    }
    b.push(kind.activate(s.gate, s.up));
    multiply(b, "down", s.gate, s.outputs, [embedding, inner], false)
}

/// residual += the output of the experts that every token uses.
pub fn shared_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    shared_output(b, l, kind, src)?;
    b.join(l.slots.output);
    Ok(())
}

/// The same times a weight of their own, the sigmoid of a product with `src`.
pub fn gated_shared_experts(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    shared_output(b, l, kind, src)?;
    let weight = b.slot("shared weight", 1);
    b.linear(&l.name("ffn_gate_inp_shexp"), src, weight)?;
    b.push(Op::Activate { slot: weight, activation: Activation::Sigmoid });
    // They are summed as a mixture of one, whose choice is a number and a weight.
    let choice = b.slot("shared choice", 2);
    let (from, to) = (Runs { first: 0, step: 0 }, Runs { first: 1, step: 0 });
    b.push(Op::Copy { src: weight, dst: choice, run: 1, count: 1, from, to });
    b.push(Op::ExpertSum { src: l.slots.output, dst: RESIDUAL, choice, used: 1 });
    Ok(())
}

/// output = that of the experts that every token uses.
pub fn shared_output(b: &mut Builder, l: &Layer, kind: FeedForward, src: Slot) -> Result<()> {
    let (gate, up) = (l.slots.gate, l.slots.up);
    let project = |b: &mut Builder, name: &str, src: Slot, dst: Slot| {
        let name = l.name(name);
        let epilogue = b.epilogue(&name, b.width(dst))?;
        let scale = epilogue.scale.filter(|_| kind.scaled);
        b.project(&name, src, dst, Epilogue { scale, ..epilogue })
    };
    match kind.form {
        Form::Plain => project(b, "ffn_up_shexp", src, gate)?,
        Form::Gated => {
            project(b, "ffn_gate_shexp", src, gate)?;
            project(b, "ffn_up_shexp", src, up)?;
        }
    }
    b.push(kind.activate(gate, up));
    project(b, "ffn_down_shexp", gate, l.slots.output)
}
