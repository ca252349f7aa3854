//! Encoders and rerankers, and decoders whose hidden states are taken.

use crate::styles::*;
use wasm_chord::gguf::Value;

/// Keys of an encoder, with the number for its pooling.
fn ahead(pooling: u32, mut keys: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    keys.push(("pooling_type", Value::from(pooling)));
    keys
}

/// An encoder with the layers of a decoder.
fn reader(name: &'static str, output: Output) -> Style {
    Style { looks_ahead: true, output, keys: ahead(3, vec![]), ..halves(name) }
}

/// BERT and its kin, by a number for how hidden states become an embedding.
fn bert(name: &'static str, output: Output) -> Style {
    let pooling = match output {
        Output::Logits => 0u32,
        Output::Mean => 1,
        Output::First => 2,
        Output::Last => 3,
        Output::Score { .. } | Output::Share => 4,
    };
    Style {
        order: Order::Joined,
        names: ["attn_output_norm", "layer_output_norm"],
        positions: Positions::Table,
        embedding_norm: true,
        looks_ahead: true,
        types: true,
        output_norm: "",
        output,
        keys: vec![("pooling_type", Value::from(pooling))],
        ..classic(name)
    }
}

/// All of them.
pub fn all() -> Vec<Style> {
    vec![
        bert("bert", Output::Mean),
        Style { fused: true, ..bert("bert", Output::First) },
        bert("bert", Output::Score { inner: true }),
        bert("bert", Output::Score { inner: false }),
        Style {
            positions: Positions::Halves(HEAD),
            fused: true,
            bias: false,
            qkv_bias: false,
            gated: true,
            unit: Unit::Silu,
            ..bert("nomic-bert", Output::Mean)
        },
        Style {
            positions: Positions::Alibi(8.0),
            gated: true,
            fused_up: true,
            bias: false,
            ..bert("jina-bert-v2", Output::Mean)
        },
        Style {
            positions: Positions::Alibi(8.0),
            head_norm: HeadNorm::Whole,
            joins_twice: true,
            ..bert("jina-bert-v2", Output::Last)
        },
        Style { positions: Positions::Halves(HEAD), fused: true, ..bert("jina-bert-v3", Output::Mean) },
        experts(
            Style {
                positions: Positions::Halves(HEAD),
                fused: true,
                keys: vec![("pooling_type", Value::from(1u32)), ("moe_every_n_layers", Value::from(2u32))],
                ..bert("nomic-bert-moe", Output::Mean)
            },
            Mixture { normalise: false, step: 2, ..MIXTURE },
        ),
        Style {
            norm: Norm::Layer { bias: false },
            gated: true,
            unit: Unit::Gelu,
            fused: true,
            fused_up: true,
            embedding_norm: true,
            slides: |layer| layer % 3 > 0,
            keys: ahead(1, vec![("attention.sliding_window", Value::from(WINDOW as u32))]),
            ..reader("modern-bert", Output::Mean)
        },
        reader("eurobert", Output::Last),
        Style { positions: Positions::Neighbours(HEAD), ..reader("llama-embed", Output::Last) },
        Style {
            positions: Positions::Neighbours(HEAD),
            fused: true,
            fused_up: true,
            output_norm: "enc.output_norm",
            keys: ahead(2, vec![]),
            ..reader("neo-bert", Output::First)
        },
        Style {
            order: Order::Around,
            unit: Unit::Gelu,
            head_norm: HeadNorm::Heads,
            embedding_scale: (WIDTH as f64).sqrt(),
            slides: |layer| layer % 4 < 3,
            dense: true,
            keys: ahead(
                1,
                vec![
                    ("attention.sliding_window", Value::from(WINDOW as u32)),
                    ("attention.sliding_window_pattern", Value::from(4u32)),
                ],
            ),
            ..reader("gemma-embedding", Output::Mean)
        },
        Style {
            output: Output::Share,
            tied: true,
            head_norm: HeadNorm::Heads,
            keys: vec![("pooling_type", Value::from(4u32))],
            ..halves("qwen3")
        },
        Style {
            output: Output::Last,
            head_norm: HeadNorm::Heads,
            keys: vec![("pooling_type", Value::from(3u32))],
            ..halves("qwen3")
        },
    ]
}
