//! Further decoders, by what sets each apart.

use crate::styles::*;
use wasm_chord::gguf::{Array, Value};

/// How many pairs of a head turn by each part of a position in a picture; those of a text are all the same.
fn sections() -> (&'static str, Value) {
    ("rope.dimension_sections", by_layer([2, 1, 1, 0]))
}

/// The width of experts where it is the feed-forward's that the file tells.
fn narrow() -> (&'static str, Value) {
    ("feed_forward_length", Value::from(EXPERT_INNER as u32))
}

/// The factors of [`Unit::Xielu`] in a layer, before softplus: those above and below zero, and the linear one.
pub fn xielu_factors(layer: usize) -> [f64; 3] {
    [0.5 + 0.25 * layer as f64, -0.25 * layer as f64, 0.5]
}

fn xielu() -> Vec<(&'static str, Value)> {
    let of = |factor: usize| Value::Array(Array::F32((0..LAYERS).map(|l| xielu_factors(l)[factor] as f32).collect()));
    vec![
        ("xielu.alpha_p", of(0)),
        ("xielu.alpha_n", of(1)),
        ("xielu.beta", of(2)),
        ("xielu.eps", Value::from(-1e-6f32)),
    ]
}

fn rwkv(style: Style, form: Rwkv) -> Style {
    let sizes = [
        ("wkv.head_size", HEAD),
        ("time_mix_extra_dim", 6),
        ("time_decay_extra_dim", 6),
        ("attention.decay_lora_rank", 6),
        ("attention.iclr_lora_rank", 6),
        ("attention.value_residual_mix_lora_rank", 6),
        ("attention.gate_lora_rank", 6),
    ];
    let mut keys = sizes.map(|(key, size)| (key, Value::from(size as u32))).to_vec();
    let is_kin = matches!(form, Rwkv::Six { kin: true, .. } | Rwkv::Seven { kin: true });
    keys.push(("token_shift_count", Value::from(if is_kin { 1u32 } else { 2 })));
    if !is_kin {
        keys.push(("attention.head_count", Value::from(0u32)));
        keys.push(("attention.head_count_kv", Value::from(0u32)));
    }
    Style { rwkv: Some(form), positions: Positions::None, keys: [keys, style.keys].concat(), ..style }
}

/// The same with layer norms, one of them of the embedding.
fn pure_rwkv(name: &'static str, form: Rwkv) -> Style {
    let norm = Norm::Layer { bias: true };
    Style { norm, names: ["attn_norm", "attn_norm_2"], embedding_norm: true, ..rwkv(halves(name), form) }
}

fn gemma3n() -> Style {
    Style {
        head_norm: HeadNorm::Heads,
        value_norm: true,
        score_scale: Some(1.0),
        softcap: Some(30.0),
        slides: |layer| layer % 2 == 0,
        own_inputs: 256,
        excess: [1.6448533535003662; LAYERS],
        keys: vec![
            ("attention.sliding_window", Value::from(WINDOW as u32)),
            ("attention.sliding_window_pattern", Value::from(2u32)),
            ("embedding_length_per_layer_input", Value::from(256u32)),
        ],
        ..gemma("gemma3n")
    }
}

fn grok() -> Style {
    let numbers = [
        ("logit_scale", 0.25f32),
        ("embedding_scale", 3.0),
        ("attention.output_scale", 0.5),
        ("attn_logit_softcapping", 2.0),
        ("router_logit_softcapping", 1.0),
        ("final_logit_softcapping", 2.0),
    ];
    Style {
        order: Order::Around,
        unit: Unit::Gelu,
        names_after: ["attn_output_norm", "layer_output_norm"],
        embedding_scale: 3.0,
        logit_factor: 0.25,
        score_scale: Some(0.5),
        score_cap: Some(2.0),
        softcap: Some(2.0),
        keys: numbers.map(|(key, number)| (key, Value::from(number))).to_vec(),
        ..halves("grok")
    }
}

/// All of them; some twice, in the ways that their files differ in.
pub fn all() -> Vec<Style> {
    let sigmoid = Mixture { scores: Scores::Sigmoid, choice_bias: true, ..MIXTURE };
    let window = |period: usize| {
        vec![
            ("attention.sliding_window", Value::from(WINDOW as u32)),
            ("attention.sliding_window_pattern", Value::from(period as u32)),
        ]
    };
    let gating = || vec![("expert_gating_func", Value::from(2u32)), ("expert_weights_norm", Value::from(true))];
    let late = || {
        let mut keys = gating();
        keys.push(("leading_dense_block_count", Value::from(1u32)));
        keys.push(("expert_shared_count", Value::from(1u32)));
        keys
    };
    let late_sigmoid = Mixture { shared: EXPERT_INNER, from: 1, ..sigmoid };
    let shared_key = || ("expert_shared_feed_forward_length", Value::from(20u32));
    vec![
        gemma3n(),
        Style {
            excess: [1.5, 0.0, 0.5, 0.0],
            shares: |layer| layer.checked_sub(2).filter(|_| layer > 1),
            keys: {
                let excess = Value::Array(Array::F32(vec![1.5, f32::NEG_INFINITY, 0.5, 0.0]));
                let own =
                    vec![("activation_sparsity_scale", excess), ("attention.shared_kv_layers", Value::from(2u32))];
                [gemma3n().keys, own].concat()
            },
            ..gemma3n()
        },
        Style { sub_norms: true, tied: true, ..halves("bitnet") },
        Style {
            sub_norms: true,
            tied: true,
            unit: Unit::ReluSquared,
            keys: vec![("hidden_activation", Value::from("relu2"))],
            ..halves("bitnet")
        },
        Style { head_norm: HeadNorm::Heads, unit: Unit::Xielu, gated: false, keys: xielu(), ..halves("apertus") },
        experts(
            Style { head_norm: HeadNorm::AfterRotation, keys: vec![narrow(), shared_key()], ..halves("hunyuan-moe") },
            Mixture { shared: 20, ..MIXTURE },
        ),
        Style { head_norm: HeadNorm::AfterRotation, ..llama("maincoder") },
        experts(
            Style {
                norm: Norm::Layer { bias: false },
                fused: true,
                clamp: Some(0.5),
                names: ["attn_norm", "attn_output_norm"],
                keys: vec![narrow(), ("attention.clamp_kqv", Value::from(0.5f32))],
                ..halves("dbrx")
            },
            MIXTURE,
        ),
        experts(grok(), MIXTURE),
        experts(grok(), Mixture { halves: true, ..MIXTURE }),
        experts(Style { keys: vec![narrow()], ..llama("arctic") }, Mixture { apart: true, ..MIXTURE }),
        Style {
            norm: Norm::Bare,
            clamp: Some(0.5),
            keys: vec![("attention.clamp_kqv", Value::from(0.5f32))],
            ..llama("olmo")
        },
        experts(
            Style {
                keys: vec![("expert_shared_count", Value::from(2u32)), ("expert_weights_norm", Value::from(true))],
                ..llama("bailingmoe")
            },
            Mixture { shared: 2 * EXPERT_INNER, ..MIXTURE },
        ),
        halves("exaone"),
        experts(
            Style {
                head_norm: HeadNorm::Heads,
                slides: |layer| layer % 4 < 3,
                rotates: |layer| layer % 4 < 3,
                keys: [late(), window(4)].concat(),
                ..halves("exaone-moe")
            },
            late_sigmoid,
        ),
        experts(
            Style {
                order: Order::Around,
                head_norm: HeadNorm::Heads,
                gate: true,
                embedding_scale: (WIDTH as f64).sqrt(),
                slides: |layer| layer % 4 < 3,
                rotates: |layer| layer % 4 < 3,
                keys: [late(), window(4)].concat(),
                ..halves("afmoe")
            },
            late_sigmoid,
        ),
        Style { norm: Norm::Layer { bias: true }, ..halves("orion") },
        Style { fused: true, ..classic("codeshell") },
        Style { positions: Positions::Alibi(8.0), ..llama("refact") },
        Style {
            positions: Positions::Alibi(8.0),
            gated: true,
            unit: Unit::Silu,
            fused: true,
            score_scale: Some(1.0 / HEAD as f64),
            keys: vec![("attention.max_alibi_bias", Value::from(8.0f32))],
            ..classic("jais")
        },
        Style { order: Order::Parallel, ..halves("plamo") },
        Style {
            mixers: |layer| match layer {
                1 => &[Mixer::Product],
                2 => &[],
                _ => &[Mixer::Attention],
            },
            keys: vec![
                ("attention.head_count", by_layer([HEADS, HEADS, 0, HEADS])),
                ("attention.head_count_kv", by_layer([KV_HEADS, 0, 0, KV_HEADS])),
            ],
            ..llama("deci")
        },
        experts(Style { head_norm: HeadNorm::Heads, keys: vec![sections()], ..halves("qwen3vlmoe") }, MIXTURE),
        Style { qkv_bias: true, output_bias: true, ..halves("pangu-embedded") },
        Style { keys: vec![sections()], ..halves("paddleocr") },
        pure_rwkv("rwkv6", Rwkv::Six { kin: false, fused: true }),
        Style {
            halves_every: 2,
            keys: {
                let mut keys = pure_rwkv("", Rwkv::Six { kin: false, fused: false }).keys;
                keys.push(("rescale_every_n_layers", Value::from(2u32)));
                keys
            },
            ..pure_rwkv("rwkv6", Rwkv::Six { kin: false, fused: false })
        },
        pure_rwkv("rwkv7", Rwkv::Seven { kin: false }),
        rwkv(halves("rwkv6qwen2"), Rwkv::Six { kin: true, fused: true }),
        rwkv(halves("arwkv7"), Rwkv::Seven { kin: true }),
    ]
}
