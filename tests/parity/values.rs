//! What happens to values beside products and attention.

use super::support::program::{Heads, Writer, rope as rotation};
use super::{Bench, passes};
use wasm_chord::gpu::Ways;
use wasm_chord::program::*;
use wasm_chord::quant::Dtype;
use wasm_chord::trust::Miniature;

const VOCABULARY: usize = 70;

const ACTIVATIONS: [Activation; 10] = [
    Activation::Identity,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluErf,
    Activation::Relu,
    Activation::ReluSquared,
    Activation::Sigmoid,
    Activation::SwigluLimited,
    Activation::ExpBelow,
    Activation::Exp,
];

/// Small values and large ones, whose exponentials overflow, in rows of no whole quad and of several workgroups.
pub fn elementwise(bench: &Bench) -> Result<(), String> {
    let ways = Ways { fuses: false, ..bench.ways() };
    for width in [4, 7, 100, 260] {
        for scale in [1.0, 100.0, 1e4] {
            let mut w = Writer::new(Dtype::F32, width, VOCABULARY, 1).scaled(scale);
            for activation in ACTIVATIONS {
                let [gate, up] = [width, width].map(|width| w.project(RESIDUAL, width));
                w.op(Op::Gate { gate, up, activation });
                w.op(Op::Add { src: up, dst: gate });
                w.op(Op::Activate { slot: up, activation });
                w.op(Op::Scale { slot: gate, factor: -0.3 });
                w.op(Op::Clamp { slot: gate, limit: 0.7 });
            }
            if width.is_multiple_of(4) {
                for length in [1, width] {
                    let slot = w.project(RESIDUAL, width);
                    let weight = w.vector(length);
                    w.op(Op::Weigh { slot, weight });
                }
            }
            let slot = w.project(RESIDUAL, width);
            // Not so far above the values that its tanh is lost in rounding.
            w.op(Op::Softcap { slot, cap: 0.5 });
            w.op(Op::Add { src: slot, dst: RESIDUAL });
            bench.run(&format!("{width} times {scale}"), head(w), passes(0, VOCABULARY, &[1, 3, 9]), ways)?;
        }
    }
    Ok(())
}

/// Logits from the residual stream, whatever its width: a norm over values that are no multiple of four is
/// refused.
fn head(mut w: Writer) -> Program {
    w.group = w.program.groups.len() - 1;
    w.program.outputs.logits = w.project(RESIDUAL, w.program.vocabulary);
    w.program
}

/// Rows whole and by heads, in place and not, and joined to the residual stream.
pub fn norm(bench: &Bench) -> Result<(), String> {
    for ways in bench.sums() {
        for fuses in [true, false] {
            for (heads, width) in [(1, 4), (5, 20), (3, 36), (2, 256), (1, 4096)] {
                let mut w = Writer::new(Dtype::F32, heads * width, VOCABULARY, 1);
                let [apart, joined] = [heads * width; 2].map(|width| w.slot(width));
                w.norm(RESIDUAL, apart);
                w.norm_over(width, apart, joined);
                w.norm_over(width, joined, joined);
                w.norm(joined, joined);
                w.op(Op::Add { src: joined, dst: RESIDUAL });
                for (runs, has_bias) in [(1, false), (1, true), (heads, true)] {
                    let weight = Some(w.vector(runs * width));
                    let bias = has_bias.then(|| w.vector(runs * width));
                    w.op(Op::Norm { kind: Norm::Layer, src: apart, weight, bias, dst: joined, width, epsilon: 1e-5 });
                }
                let (weight, bias) = (None, None);
                w.op(Op::Norm { kind: Norm::Layer, src: joined, weight, bias, dst: joined, width, epsilon: 1e-5 });
                w.op(Op::Norm { kind: Norm::Excess, src: apart, weight, bias, dst: apart, width, epsilon: 0.3 });
                w.op(Op::Add { src: apart, dst: joined });
                let name = if ways.kernels.subgroups { " with subgroups" } else { "" };
                let what = format!("{heads} × {width}{name}{}", if fuses { "" } else { " apart" });
                bench.run(&what, w.head(), passes(0, VOCABULARY, &[1, 3, 9]), Ways { fuses, ..ways })?;
            }
        }
    }
    Ok(())
}

/// Heads of every shape and both styles, rotated whole and in part, with norms, divisors of frequencies and
/// YaRN's scaling, in one dispatch with the write to the cache and apart.
pub fn rope(bench: &Bench) -> Result<(), String> {
    let plain = Heads { heads: 4, kv_heads: 2, head_dim: 64, value_dim: 64, window: None, softcap: None };
    let yarn =
        Rope { frequency_scale: 0.25, extrapolation: 1.0, attention_factor: 1.1, ..rotation(64, RopeStyle::Halves) };
    let cases = [
        (plain, rotation(64, RopeStyle::Interleaved)),
        (plain, yarn),
        (Heads { heads: 6, head_dim: 80, value_dim: 12, ..plain }, rotation(32, RopeStyle::Halves)),
        (Heads { heads: 3, kv_heads: 3, head_dim: 18, value_dim: 6, ..plain }, rotation(10, RopeStyle::Interleaved)),
        (Heads { heads: 5, kv_heads: 1, head_dim: 256, value_dim: 256, ..plain }, rotation(256, RopeStyle::Halves)),
        (Heads { heads: 1, kv_heads: 1, head_dim: 512, value_dim: 2, ..plain }, rotation(512, RopeStyle::Halves)),
    ];
    for (ways, fuses) in bench.sums().into_iter().flat_map(|ways| [(ways, true), (ways, false)]) {
        for (shape, rotation) in &cases {
            for has_norms in [false, shape.head_dim.is_multiple_of(4)] {
                let mut w = Writer::new(Dtype::F32, 32, VOCABULARY, 1);
                let factors = Some(w.vector(rotation.dims / 2));
                let rope = w.program.push_rope(Rope { factors, ..rotation.clone() });
                let (layer, slots) = w.heads(*shape);
                slots[..3].iter().for_each(|dst| w.multiply(RESIDUAL, *dst));
                if has_norms {
                    slots[..2].iter().for_each(|slot| w.norm_over(shape.head_dim, *slot, *slot));
                }
                for (slot, heads) in [(slots[0], shape.heads), (slots[1], shape.kv_heads)] {
                    w.op(Op::Rope { slot, heads, head_dim: shape.head_dim, rope });
                }
                w.attend(*shape, layer, slots, 0.1);
                let name = if ways.kernels.subgroups { " with subgroups" } else { "" };
                let norms = if has_norms { " after norms" } else { "" };
                let what = format!("{shape:?} {}{norms}{name}{}", rotation.dims, if fuses { "" } else { " apart" });
                let mut program = head(w);
                for format in [KvFormat::F16, KvFormat::Q8_0] {
                    program.keep_in(format);
                    if program.kv_formats().all(|kept| kept == format) {
                        let what = format!("{what} in {}", format.name());
                        let ways = Ways { fuses, ..ways };
                        bench.run(&what, program.clone(), passes(900, VOCABULARY, &[1, 3, 9]), ways)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Experts with their routing, and what was chosen added up.
fn experts(all: usize, used: usize, routing: Routing, has_bias: bool, width: usize) -> Program {
    let mut w = Writer::new(Dtype::F32, width, VOCABULARY, 1).scaled(30.0);
    let logits = w.project(RESIDUAL, all);
    let choice = w.slot(2 * used);
    let bias = has_bias.then(|| w.vector(all));
    w.op(Op::Route { logits, choice, used, routing: Routing { bias, ..routing } });
    let src = w.project(RESIDUAL, used * width);
    w.op(Op::ExpertSum { src, dst: RESIDUAL, choice, used });
    head(w)
}

/// Few of many and all of few, with ties, of which the first wins.
pub fn route(bench: &Bench) -> Result<(), String> {
    for (all, used) in [(3, 1), (8, 2), (60, 4), (128, 8), (5, 5)] {
        for normalise in [true, false] {
            for (scores, has_bias) in [
                (Scores::Softmax, false),
                (Scores::Softmax, true),
                (Scores::SoftmaxOfChosen, false),
                (Scores::Sigmoid, false),
                (Scores::Sigmoid, true),
            ] {
                let routing = Routing { scores, bias: None, normalise, scale: if normalise { 1.0 } else { 2.5 } };
                let mut small = Miniature::of(experts(all, used, routing, has_bias, 32));
                // The first expert's row again, for the second and the last.
                let rows = &mut small.data[1];
                rows.copy_within(..32 * 4, 32 * 4);
                rows.copy_within(..32 * 4, (all - 1) * 32 * 4);
                let what = format!("{used} of {all} by {routing:?}{}", if has_bias { " and a bias" } else { "" });
                bench.run_small(&what, &small, passes(0, VOCABULARY, &[1, 3, 33]), bench.ways())?;
            }
        }
    }
    Ok(())
}

/// Rows of no whole workgroup and of several.
pub fn expert_sum(bench: &Bench) -> Result<(), String> {
    for (width, used) in [(4, 1), (36, 2), (260, 8), (1028, 3)] {
        let routing = Routing { scores: Scores::Softmax, bias: None, normalise: true, scale: 1.0 };
        let program = experts(8, used, routing, false, width);
        bench.run(&format!("{used} of {width}"), program, passes(0, VOCABULARY, &[1, 3, 9]), bench.ways())?;
    }
    Ok(())
}
