//! What architectures are like, in words of the papers: one row each.

use wasm_chord::gguf::Value;

pub const WIDTH: usize = 32;
pub const LAYERS: usize = 4;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD: usize = 8;
pub const INNER: usize = 48;
pub const VOCABULARY: usize = 40;
pub const CONTEXT: usize = 64;
pub const WINDOW: usize = 7;
pub const EXPERTS: usize = 6;
pub const USED: usize = 2;
pub const EXPERT_INNER: usize = 32;

/// How rows are normalised.
#[derive(Clone, Copy, PartialEq)]
pub enum Norm {
    Rms,
    Layer { bias: bool },
}

/// How positions come in.
#[derive(Clone, Copy, PartialEq)]
pub enum Positions {
    /// Rotation of neighbours, or of halves, of so many values of a head.
    Neighbours(usize),
    Halves(usize),
    /// A bias of the scores, up to so much.
    Alibi(f64),
    /// A table.
    Table,
    None,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, PartialEq)]
pub enum HeadNorm {
    None,
    /// Over each head, with one weight for all of them, before or after the rotation.
    Heads,
    AfterRotation,
    /// Over each head, with a weight for each.
    EachHead,
    /// Over all heads together.
    Whole,
}

/// Where norms stand.
#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    /// Before attention and before the feed-forward.
    Before,
    /// After them.
    After,
    /// Both.
    Around,
    /// Attention and feed-forward side by side, after one norm.
    Parallel,
    /// Side by side, each after a norm of its own.
    ParallelApart,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Silu,
    Gelu,
    ReluSquared,
    /// The unit of gpt-oss.
    Limited,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scores {
    Softmax,
    OfChosen,
    Sigmoid,
}

/// A mixture of experts.
#[derive(Clone, Copy)]
pub struct Mixture {
    pub scores: Scores,
    pub normalise: bool,
    /// A bias of the choice, biases of the experts, and experts that every token uses.
    pub choice_bias: bool,
    pub biases: bool,
    pub shared: usize,
    /// The layers that have it.
    pub from: usize,
    pub step: usize,
}

/// An architecture.
#[derive(Clone)]
pub struct Style {
    pub name: &'static str,
    pub norm: Norm,
    pub positions: Positions,
    pub head_norm: HeadNorm,
    pub order: Order,
    pub unit: Unit,
    pub gated: bool,
    /// One tensor for queries, keys and values; one for gate and up.
    pub fused: bool,
    pub fused_up: bool,
    /// Biases of queries, keys and values; of everything else.
    pub qkv_bias: bool,
    pub bias: bool,
    pub tied: bool,
    pub embedding_scale: f64,
    pub embedding_norm: bool,
    pub residual_scale: f64,
    pub logit_factor: f64,
    pub softcap: Option<f64>,
    pub score_cap: Option<f64>,
    pub clamp: Option<f64>,
    pub sinks: bool,
    /// Whether a layer slides over a window, and whether it rotates.
    pub slides: fn(usize) -> bool,
    pub rotates: fn(usize) -> bool,
    pub mixture: Option<Mixture>,
    /// The names of the norms before attention and before the feed-forward.
    pub names: [&'static str; 2],
    pub keys: Vec<(&'static str, Value)>,
}

const NEVER: fn(usize) -> bool = |_| false;
const ALWAYS: fn(usize) -> bool = |_| true;

const MIXTURE: Mixture = Mixture {
    scores: Scores::Softmax,
    normalise: true,
    choice_bias: false,
    biases: false,
    shared: 0,
    from: 0,
    step: 1,
};

/// Llama.
fn llama(name: &'static str) -> Style {
    Style {
        name,
        norm: Norm::Rms,
        positions: Positions::Neighbours(HEAD),
        head_norm: HeadNorm::None,
        order: Order::Before,
        unit: Unit::Silu,
        gated: true,
        fused: false,
        fused_up: false,
        qkv_bias: false,
        bias: false,
        tied: false,
        embedding_scale: 1.0,
        embedding_norm: false,
        residual_scale: 1.0,
        logit_factor: 1.0,
        softcap: None,
        score_cap: None,
        clamp: None,
        sinks: false,
        slides: NEVER,
        rotates: ALWAYS,
        mixture: None,
        names: ["attn_norm", "ffn_norm"],
        keys: Vec::new(),
    }
}

/// The same with rotation of halves.
fn halves(name: &'static str) -> Style {
    Style { positions: Positions::Halves(HEAD), ..llama(name) }
}

/// A transformer of the first kind: layer norms and biases everywhere, and no gate.
fn classic(name: &'static str) -> Style {
    Style {
        norm: Norm::Layer { bias: true },
        unit: Unit::Gelu,
        gated: false,
        qkv_bias: true,
        bias: true,
        ..halves(name)
    }
}

fn gemma(name: &'static str) -> Style {
    Style { unit: Unit::Gelu, tied: true, embedding_scale: (WIDTH as f64).sqrt(), ..halves(name) }
}

fn experts(style: Style, mixture: Mixture) -> Style {
    Style { mixture: Some(mixture), ..style }
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
    let scaled = |name| Style {
        residual_scale: 0.5,
        embedding_scale: 3.0,
        logit_factor: 0.25,
        keys: vec![
            ("residual_scale", Value::from(0.5f32)),
            ("embedding_scale", Value::from(3.0f32)),
            ("logit_scale", Value::from(4.0f32)),
        ],
        ..llama(name)
    };
    let shared_key = || ("expert_shared_feed_forward_length", Value::from(20u32));
    vec![
        llama("llama"),
        experts(llama("llama"), MIXTURE),
        llama("mistral3"),
        Style {
            fused: true,
            qkv_bias: true,
            keys: vec![("feed_forward_length", Value::from(2 * INNER as u32))],
            ..halves("qwen")
        },
        Style { qkv_bias: true, ..halves("qwen2") },
        Style { qkv_bias: true, ..halves("qwen2vl") },
        Style { head_norm: HeadNorm::Heads, ..halves("qwen3") },
        Style { head_norm: HeadNorm::Heads, ..halves("qwen3vl") },
        experts(Style { head_norm: HeadNorm::Heads, ..halves("qwen3moe") }, MIXTURE),
        gemma("gemma"),
        Style {
            order: Order::Around,
            softcap: Some(30.0),
            score_cap: Some(50.0),
            slides: |layer| layer % 2 == 0,
            keys: window(2),
            ..gemma("gemma2")
        },
        Style {
            order: Order::Around,
            head_norm: HeadNorm::Heads,
            slides: |layer| layer % 3 < 2,
            keys: window(3),
            ..gemma("gemma3")
        },
        Style { order: Order::Parallel, positions: Positions::Halves(4), ..classic("phi2") },
        Style { fused: true, fused_up: true, ..halves("phi3") },
        experts(Style { qkv_bias: true, ..halves("phimoe") }, MIXTURE),
        Style { rotates: |layer| layer != 3, tied: true, ..llama("smollm3") },
        Style { order: Order::After, head_norm: HeadNorm::Whole, ..halves("olmo2") },
        Style {
            order: Order::After,
            head_norm: HeadNorm::Whole,
            slides: |layer| layer % 4 < 3,
            keys: window(4),
            ..halves("olmo2")
        },
        experts(Style { head_norm: HeadNorm::Whole, ..halves("olmoe") }, Mixture { normalise: false, ..MIXTURE }),
        scaled("granite"),
        experts(
            Style { keys: [scaled("").keys, vec![shared_key()]].concat(), ..scaled("granitemoe") },
            Mixture { shared: 20, ..MIXTURE },
        ),
        scaled("minicpm"),
        experts(
            Style {
                qkv_bias: true,
                sinks: true,
                unit: Unit::Limited,
                slides: |layer| layer % 2 == 0,
                names: ["attn_norm", "post_attention_norm"],
                keys: window(2),
                ..halves("gpt-oss")
            },
            Mixture { scores: Scores::OfChosen, normalise: false, biases: true, ..MIXTURE },
        ),
        Style { positions: Positions::Table, fused: true, ..classic("gpt2") },
        Style { positions: Positions::Table, fused: true, ..classic("starcoder") },
        classic("starcoder2"),
        Style {
            order: Order::ParallelApart,
            positions: Positions::Halves(4),
            fused: true,
            keys: vec![("use_parallel_residual", Value::from(true))],
            ..classic("gptneox")
        },
        Style { fused: true, keys: vec![("use_parallel_residual", Value::from(false))], ..classic("gptneox") },
        Style { order: Order::Parallel, fused: true, qkv_bias: false, bias: false, ..classic("falcon") },
        Style {
            order: Order::ParallelApart,
            names: ["attn_norm_2", "attn_norm"],
            fused: true,
            qkv_bias: false,
            bias: false,
            ..classic("falcon")
        },
        Style { gated: true, unit: Unit::Silu, bias: false, ..classic("stablelm") },
        Style {
            gated: true,
            unit: Unit::Silu,
            bias: false,
            order: Order::Parallel,
            head_norm: HeadNorm::EachHead,
            ..classic("stablelm")
        },
        Style { positions: Positions::Alibi(8.0), fused: true, embedding_norm: true, ..classic("bloom") },
        Style {
            positions: Positions::Alibi(8.0),
            norm: Norm::Layer { bias: false },
            fused: true,
            qkv_bias: false,
            bias: false,
            clamp: Some(0.5),
            keys: vec![("attention.max_alibi_bias", Value::from(8.0f32)), ("attention.clamp_kqv", Value::from(0.5f32))],
            ..classic("mpt")
        },
        Style {
            order: Order::Parallel,
            norm: Norm::Layer { bias: false },
            tied: true,
            logit_factor: 0.25,
            keys: vec![("logit_scale", Value::from(0.25f32))],
            ..llama("command-r")
        },
        Style {
            order: Order::Parallel,
            norm: Norm::Layer { bias: false },
            tied: true,
            logit_factor: 0.25,
            slides: |layer| layer % 4 < 3,
            rotates: |layer| layer % 4 < 3,
            keys: [window(4), vec![("logit_scale", Value::from(0.25f32))]].concat(),
            ..llama("cohere2")
        },
        llama("internlm2"),
        Style { positions: Positions::None, ..llama("baichuan") },
        llama("xverse"),
        Style { order: Order::After, head_norm: HeadNorm::Heads, ..halves("exaone4") },
        Style {
            order: Order::Around,
            positions: Positions::Neighbours(4),
            fused_up: true,
            qkv_bias: true,
            ..llama("glm4")
        },
        experts(
            Style {
                head_norm: HeadNorm::Heads,
                qkv_bias: true,
                names: ["attn_norm", "post_attention_norm"],
                keys: late(),
                ..halves("glm4moe")
            },
            late_sigmoid,
        ),
        Style { positions: Positions::Neighbours(4), fused: true, fused_up: true, qkv_bias: true, ..llama("chatglm") },
        llama("ernie4_5"),
        experts(
            Style {
                keys: vec![shared_key(), ("interleave_moe_layer_step", Value::from(2u32))],
                ..llama("ernie4_5-moe")
            },
            Mixture { choice_bias: true, shared: 20, from: 1, step: 2, ..MIXTURE },
        ),
        Style { head_norm: HeadNorm::AfterRotation, ..halves("hunyuan-dense") },
        Style { unit: Unit::ReluSquared, ..classic("nemotron") },
        Style { unit: Unit::ReluSquared, gated: false, ..llama("arcee") },
        Style { qkv_bias: true, names: ["attn_norm", "post_attention_norm"], ..halves("seed_oss") },
        experts(
            Style {
                keys: vec![
                    ("leading_dense_block_count", Value::from(1u32)),
                    ("expert_shared_count", Value::from(2u32)),
                ],
                ..llama("deepseek")
            },
            Mixture { normalise: false, shared: 2 * EXPERT_INNER, from: 1, ..MIXTURE },
        ),
        experts(Style { head_norm: HeadNorm::Heads, keys: late(), ..halves("dots1") }, late_sigmoid),
        experts(Style { head_norm: HeadNorm::Heads, fused: true, keys: late(), ..halves("bailingmoe2") }, late_sigmoid),
        experts(Style { head_norm: HeadNorm::Whole, keys: gating(), ..halves("minimax-m2") }, sigmoid),
    ]
}

impl Style {
    /// Whether a layer has experts.
    pub fn has_experts(&self, layer: usize) -> Option<Mixture> {
        self.mixture.filter(|mixture| layer >= mixture.from && (layer + 1).is_multiple_of(mixture.step))
    }

    /// The keys of its file, under the architecture's prefix.
    pub fn metadata(&self) -> Vec<(&'static str, Value)> {
        let rotated = match self.positions {
            Positions::Neighbours(dims) | Positions::Halves(dims) => dims,
            Positions::Alibi(_) | Positions::Table | Positions::None => HEAD,
        };
        let mut keys: Vec<(&'static str, Value)> = [
            ("block_count", LAYERS),
            ("context_length", CONTEXT),
            ("embedding_length", WIDTH),
            ("feed_forward_length", INNER),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", KV_HEADS),
            ("attention.key_length", HEAD),
            ("attention.value_length", HEAD),
            ("rope.dimension_count", rotated),
        ]
        .into_iter()
        .map(|(key, value)| (key, Value::from(value as u32)))
        .collect();
        keys.push(("attention.layer_norm_rms_epsilon", Value::from(1e-5f32)));
        keys.push(("attention.layer_norm_epsilon", Value::from(1e-5f32)));
        if self.mixture.is_some() {
            keys.push(("expert_count", Value::from(EXPERTS as u32)));
            keys.push(("expert_used_count", Value::from(USED as u32)));
            keys.push(("expert_feed_forward_length", Value::from(EXPERT_INNER as u32)));
        }
        keys.retain(|(key, _)| self.keys.iter().all(|(own, _)| own != key));
        keys.extend(self.keys.iter().cloned());
        keys
    }
}
