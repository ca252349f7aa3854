//! Decoders that are others but for little, and those that fill a text in as a whole.

use crate::styles::*;
use wasm_chord::gguf::Value;

fn window(pattern: Value) -> Vec<(&'static str, Value)> {
    vec![("attention.sliding_window", Value::from(WINDOW as u32)), ("attention.sliding_window_pattern", pattern)]
}

/// Experts by sigmoid after the first layer.
fn late() -> Vec<(&'static str, Value)> {
    vec![
        ("expert_gating_func", Value::from(2u32)),
        ("expert_weights_norm", Value::from(true)),
        ("leading_dense_block_count", Value::from(1u32)),
        ("expert_shared_count", Value::from(1u32)),
    ]
}

/// Cohere's mixtures, by layer norms or by the root of the mean square.
fn cohere(norm: Norm) -> Style {
    let mut keys = [late(), window(by_layer([0, 1, 1, 0])), vec![("logit_scale", Value::from(0.25f32))]].concat();
    if norm != Norm::Rms {
        keys.push(("attention.layer_norm_rms_epsilon", Value::from(0.0f32)));
    }
    let mixture = Mixture { scores: Scores::Sigmoid, shared: EXPERT_INNER, shared_mean: true, from: 1, ..MIXTURE };
    let style = Style {
        order: Order::Parallel,
        norm,
        tied: true,
        logit_factor: 0.25,
        slides: |layer| [false, true, true, false][layer],
        rotates: |layer| layer < 3,
        keys,
        ..llama("cohere2moe")
    };
    experts(style, mixture)
}

/// All of them.
pub fn all() -> Vec<Style> {
    let sigmoid = Mixture { scores: Scores::Sigmoid, choice_bias: true, from: 1, ..MIXTURE };
    vec![
        Style { qkv_bias: true, looks_ahead: true, ..llama("llada") },
        Style { qkv_bias: true, looks_ahead: true, ..halves("dream") },
        experts(
            Style { head_norm: HeadNorm::Heads, looks_ahead: true, ..halves("llada-moe") },
            Mixture { normalise: false, ..MIXTURE },
        ),
        experts(Style { head_norm: HeadNorm::Heads, looks_ahead: true, ..halves("rnd1") }, MIXTURE),
        experts(
            Style {
                sinks: true,
                slides: |layer| layer % 2 == 1,
                mixed_scale: 0.5,
                keys: [window(by_layer([0, 1, 0, 1])), vec![("attention.value_scale", Value::from(0.5f32))]].concat(),
                ..halves("mimo2")
            },
            sigmoid,
        ),
        experts(
            Style {
                mixers: |_| &[Mixer::Latent { absorbed: true, narrow_query: true }],
                positions: Positions::Neighbours(LATENT_ROTATED),
                keys: [latent(true), late()].concat(),
                ..llama("mistral4")
            },
            Mixture { shared: EXPERT_INNER, ..sigmoid },
        ),
        Style {
            mixers: |_| &[Mixer::Latent { absorbed: false, narrow_query: false }],
            positions: Positions::Neighbours(LATENT_ROTATED),
            unit: Unit::ReluSquared,
            gated: false,
            tied: true,
            keys: latent(false),
            ..llama("plm")
        },
        Style {
            order: Order::Around,
            head_norm: HeadNorm::Heads,
            fused: true,
            fused_up: true,
            slides: |layer| layer % 2 == 0,
            keys: window(Value::from(2u32)),
            ..halves("plamo3")
        },
        Style { unit: Unit::ReluSquared, output_bias: true, ..classic("jais2") },
        experts(
            Style {
                head_norm: HeadNorm::Heads,
                slides: |layer| layer % 4 < 3,
                keys: window(Value::from(4u32)),
                ..halves("mellum")
            },
            MIXTURE,
        ),
        experts(
            Style { keys: late(), ..llama("deepseek2-ocr") },
            Mixture { scores: Scores::Sigmoid, shared: EXPERT_INNER, from: 1, ..MIXTURE },
        ),
        Style {
            sinks: true,
            slides: |layer| layer % 2 == 1,
            rotates: |layer| layer < 3,
            keys: {
                let pattern = vec![("attention.rope_pattern", by_layer([1, 1, 1, 0]))];
                [scaled("").keys, window(by_layer([0, 1, 0, 1])), pattern].concat()
            },
            ..scaled("granite_swa")
        },
        cohere(Norm::Layer { bias: false }),
        cohere(Norm::Rms),
        Style {
            head_norm: HeadNorm::AfterRotation,
            // Of heads of eight values the base grows by the factor's power of 8/6: from 625 to 10000 here.
            keys: vec![("rope.freq_base", Value::from(625f32)), ("rope.scaling.alpha", Value::from(8f32))],
            ..halves("hunyuan_vl")
        },
    ]
}
