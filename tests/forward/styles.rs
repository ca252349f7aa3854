//! What architectures are like, in words of the papers: one row each.

use wasm_chord::gguf::{Array, Value};

pub const WIDTH: usize = 32;
pub const LAYERS: usize = 4;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD: usize = 8;
pub const INNER: usize = 48;
pub const VOCABULARY: usize = 40;
pub const CONTEXT: usize = 192;
pub const WINDOW: usize = 7;
pub const EXPERTS: usize = 6;
pub const USED: usize = 2;
pub const EXPERT_INNER: usize = 32;
pub const KERNEL: usize = 4;
/// Of scans and delta rules: width beside the residual stream, width of a key, heads, and groups of them.
pub const SSM_INNER: usize = 2 * WIDTH;
pub const SSM_STATE: usize = 8;
pub const SSM_HEADS: usize = 4;
pub const SSM_GROUPS: usize = 2;
/// Of latent attention: the narrow row of keys and values, that of queries, a head's query, what of it rotates, and a
/// head's value.
pub const RANK: usize = 12;
pub const QUERY_RANK: usize = 20;
pub const LATENT_KEY: usize = 8;
pub const LATENT_ROTATED: usize = 4;
pub const LATENT_VALUE: usize = 6;

/// What lets tokens know of each other.
#[derive(Clone, Copy, PartialEq)]
pub enum Mixer {
    Attention,
    /// A short convolution between two gates.
    ShortConv,
    Mamba {
        norms: MambaNorms,
    },
    /// Mamba 2, with or without a norm of its output.
    Mamba2 {
        norm: bool,
    },
    /// The scan of PLaMo 2.
    Plamo,
    /// Latent attention, with keys and values that are brought out of the narrow row once or for every query; and
    /// queries through a narrow row or not.
    Latent {
        absorbed: bool,
        narrow_query: bool,
    },
    /// The delta rule of Kimi Linear.
    Kda,
    DeltaNet(DeltaForm),
    /// A product in attention's place.
    Product,
}

/// How the steps, keys and queries of Mamba are normalised.
#[derive(Clone, Copy, PartialEq)]
pub enum MambaNorms {
    None,
    Bare,
    Weighted,
}

/// Which heads of a delta net share a key: every so many-th, or those of a group, whose projections stand side by
/// side, and may be one tensor.
#[derive(Clone, Copy, PartialEq)]
pub enum DeltaForm {
    Interleaved,
    OfGroups { fused: bool },
}

/// A layer of RWKV, or of its kin with the feed-forward of Qwen 2; of the older one with its shares in one tensor or not.
#[derive(Clone, Copy, PartialEq)]
pub enum Rwkv {
    Six { kin: bool, fused: bool },
    Seven { kin: bool },
}

/// How rows are normalised.
#[derive(Clone, Copy, PartialEq)]
pub enum Norm {
    Rms,
    Layer {
        bias: bool,
    },
    /// To mean 0 and variance 1, without weights.
    Bare,
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
    /// Over each head of the layers that rotate, after that, without a weight.
    Bare,
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
    /// After the residual stream has taken in what a block made.
    Joined,
}

/// What a text comes to.
#[derive(Clone, Copy, PartialEq)]
pub enum Output {
    /// Logits of every token.
    Logits,
    /// A hidden state of length one: the mean of all tokens', or that of the first or the last.
    Mean,
    First,
    Last,
    /// A score, of the first token's hidden state: by a classifier with a layer within, or without.
    Score {
        inner: bool,
    },
    /// The share of the first of two classes, of the last token's.
    Share,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Silu,
    Gelu,
    Relu,
    ReluSquared,
    /// The unit of gpt-oss.
    Limited,
    /// With factors of each layer.
    Xielu,
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
    /// Whether the output is the mean of those and of the chosen, in place of the sum.
    pub shared_mean: bool,
    /// Whether those have a weight of their own, and whether gate and up of an expert are one tensor.
    pub shared_gate: bool,
    pub fused: bool,
    /// Whether it is chosen before attention, and whether the experts' input is weighed in place of their output.
    pub early: bool,
    pub weighed: bool,
    /// Whether there is a feed-forward beside it: to whose sum it is added before both are divided by the root of two,
    /// or whose sum it joins having seen the layer's input.
    pub halves: bool,
    pub apart: bool,
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
    /// Biases of queries, keys and values; of attention's output; of everything else.
    pub qkv_bias: bool,
    pub output_bias: bool,
    pub bias: bool,
    pub tied: bool,
    pub embedding_scale: f64,
    pub embedding_norm: bool,
    pub residual_scale: f64,
    /// A factor of what attention makes.
    pub mixed_scale: f64,
    pub logit_factor: f64,
    pub softcap: Option<f64>,
    pub score_cap: Option<f64>,
    pub clamp: Option<f64>,
    pub sinks: bool,
    /// Whether a layer slides over a window, and whether it rotates.
    pub slides: fn(usize) -> bool,
    pub rotates: fn(usize) -> bool,
    pub mixture: Option<Mixture>,
    /// What a layer has of mixers, whose outputs are added, and whether it has a feed-forward.
    pub mixers: fn(usize) -> &'static [Mixer],
    pub feeds: fn(usize) -> bool,
    /// The whole layer, where it is RWKV's, and after how many the residual stream is halved.
    pub rwkv: Option<Rwkv>,
    pub halves_every: usize,
    /// Whether queries come with a gate of attention's output.
    pub query_gate: bool,
    pub output_norm: &'static str,
    /// Width of what each token has in each layer alone.
    pub own_inputs: usize,
    /// Of Gemma 3n: by how many standard deviations gates have to exceed their mean in each layer; 0 where all pass.
    pub excess: [f64; LAYERS],
    /// The layer whose keys and values a layer attends to, in place of its own.
    pub shares: fn(usize) -> Option<usize>,
    /// Whether values are normalised, and the scale of scores if it is not by the head's width.
    pub value_norm: bool,
    pub score_scale: Option<f64>,
    /// The names of the norms before attention and before the feed-forward, and of those after them.
    pub names: [&'static str; 2],
    pub names_after: [&'static str; 2],
    /// Whether what comes before the last product of each block is normalised, and whether attention's output is gated.
    pub sub_norms: bool,
    pub gate: bool,
    /// Whether tokens attend to those after them.
    pub looks_ahead: bool,
    /// Whether the embedding has a part for the type of a text.
    pub types: bool,
    /// Whether two matrices follow the last norm.
    pub dense: bool,
    /// Whether the residual stream joins attention twice, each time before a norm.
    pub joins_twice: bool,
    pub output: Output,
    pub keys: Vec<(&'static str, Value)>,
}

const NEVER: fn(usize) -> bool = |_| false;
const ALWAYS: fn(usize) -> bool = |_| true;

pub const MIXTURE: Mixture = Mixture {
    scores: Scores::Softmax,
    normalise: true,
    choice_bias: false,
    biases: false,
    shared: 0,
    shared_mean: false,
    shared_gate: false,
    fused: false,
    early: false,
    weighed: false,
    halves: false,
    apart: false,
    from: 0,
    step: 1,
};

/// Llama.
pub fn llama(name: &'static str) -> Style {
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
        output_bias: false,
        bias: false,
        tied: false,
        embedding_scale: 1.0,
        embedding_norm: false,
        residual_scale: 1.0,
        mixed_scale: 1.0,
        logit_factor: 1.0,
        softcap: None,
        score_cap: None,
        clamp: None,
        sinks: false,
        slides: NEVER,
        rotates: ALWAYS,
        mixture: None,
        mixers: |_| &[Mixer::Attention],
        feeds: ALWAYS,
        rwkv: None,
        halves_every: 0,
        query_gate: false,
        output_norm: "output_norm",
        own_inputs: 0,
        excess: [0.0; LAYERS],
        shares: |_| None,
        value_norm: false,
        score_scale: None,
        names: ["attn_norm", "ffn_norm"],
        names_after: ["post_attention_norm", "post_ffw_norm"],
        sub_norms: false,
        gate: false,
        looks_ahead: false,
        types: false,
        dense: false,
        joins_twice: false,
        output: Output::Logits,
        keys: Vec::new(),
    }
}

/// The same with rotation of halves.
pub fn halves(name: &'static str) -> Style {
    Style { positions: Positions::Halves(HEAD), ..llama(name) }
}

/// A transformer of the first kind: layer norms and biases everywhere, and no gate.
pub fn classic(name: &'static str) -> Style {
    Style {
        norm: Norm::Layer { bias: true },
        unit: Unit::Gelu,
        gated: false,
        qkv_bias: true,
        bias: true,
        ..halves(name)
    }
}

pub fn gemma(name: &'static str) -> Style {
    Style { unit: Unit::Gelu, tied: true, embedding_scale: (WIDTH as f64).sqrt(), ..halves(name) }
}

/// Granite, with factors of what goes in, through and out.
pub fn scaled(name: &'static str) -> Style {
    Style {
        residual_scale: 0.5,
        embedding_scale: 3.0,
        logit_factor: 0.25,
        keys: vec![
            ("residual_scale", Value::from(0.5f32)),
            ("embedding_scale", Value::from(3.0f32)),
            ("logit_scale", Value::from(4.0f32)),
        ],
        ..llama(name)
    }
}

pub fn experts(style: Style, mixture: Mixture) -> Style {
    Style { mixture: Some(mixture), ..style }
}

/// A value for each layer.
pub fn by_layer(values: [usize; LAYERS]) -> Value {
    Value::Array(Array::U32(values.map(|value| value as u32).to_vec()))
}

/// The keys of a state that holds the whole past.
fn recurrence() -> Vec<(&'static str, Value)> {
    let sizes = [
        ("ssm.conv_kernel", KERNEL),
        ("ssm.inner_size", SSM_INNER),
        ("ssm.state_size", SSM_STATE),
        ("ssm.time_step_rank", SSM_HEADS),
        ("ssm.group_count", SSM_GROUPS),
    ];
    sizes.map(|(key, size)| (key, Value::from(size as u32))).to_vec()
}

/// The same, where only the third layer attends.
fn hybrid() -> Vec<(&'static str, Value)> {
    let mut keys = recurrence();
    keys.push(("attention.head_count_kv", by_layer([0, 0, KV_HEADS, 0])));
    keys
}

/// Qwen 3.5 and its kin.
fn delta(name: &'static str, mixers: fn(usize) -> &'static [Mixer]) -> Style {
    Style {
        mixers,
        query_gate: true,
        head_norm: HeadNorm::Heads,
        positions: Positions::Halves(4),
        names: ["attn_norm", "post_attention_norm"],
        keys: recurrence(),
        ..halves(name)
    }
}

const INTERLEAVED: Mixer = Mixer::DeltaNet(DeltaForm::Interleaved);
const OF_GROUPS: Mixer = Mixer::DeltaNet(DeltaForm::OfGroups { fused: false });
const FUSED: Mixer = Mixer::DeltaNet(DeltaForm::OfGroups { fused: true });

fn lfm2(name: &'static str, keys: Vec<(&'static str, Value)>) -> Style {
    let own = vec![
        ("shortconv.l_cache", Value::from(KERNEL as u32)),
        ("attention.head_count_kv", by_layer([0, 0, KV_HEADS, 0])),
    ];
    Style {
        mixers: |layer| if layer == 2 { &[Mixer::Attention] } else { &[Mixer::ShortConv] },
        head_norm: HeadNorm::Heads,
        output_norm: "token_embd_norm",
        keys: [own, keys].concat(),
        ..halves(name)
    }
}

/// Scans alone, whose files say that there are no heads and no feed-forward.
fn scan(name: &'static str, mixers: fn(usize) -> &'static [Mixer], keys: Vec<(&'static str, Value)>) -> Style {
    let none = || Value::from(0u32);
    let nothing = vec![("attention.head_count", none()), ("feed_forward_length", none())];
    Style { mixers, feeds: NEVER, keys: [recurrence(), nothing, keys].concat(), ..llama(name) }
}

/// Mamba 2, attention and feed-forwards each in layers of their own.
fn nemotron_h(name: &'static str, keys: Vec<(&'static str, Value)>) -> Style {
    let feeds = vec![("feed_forward_length", by_layer([0, INNER, 0, INNER]))];
    Style {
        unit: Unit::ReluSquared,
        gated: false,
        positions: Positions::None,
        mixers: |layer| match layer {
            0 => &[Mixer::Mamba2 { norm: true }],
            2 => &[Mixer::Attention],
            _ => &[],
        },
        feeds: |layer| layer % 2 == 1,
        keys: [hybrid(), feeds, keys].concat(),
        ..llama(name)
    }
}

/// The keys of latent attention.
pub fn latent(absorbed: bool) -> Vec<(&'static str, Value)> {
    let (key, value, heads) = match absorbed {
        true => (RANK + LATENT_ROTATED, RANK, 1),
        false => (LATENT_KEY, LATENT_VALUE, HEADS),
    };
    let sizes = [
        ("attention.key_length", key),
        ("attention.value_length", value),
        ("attention.head_count_kv", heads),
        ("attention.key_length_mla", LATENT_KEY),
        ("attention.value_length_mla", LATENT_VALUE),
        ("attention.kv_lora_rank", RANK),
        ("rope.dimension_count", LATENT_ROTATED),
    ];
    sizes.map(|(key, size)| (key, Value::from(size as u32))).to_vec()
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
    let decoders = vec![
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
        Style {
            order: Order::Around,
            head_norm: HeadNorm::Heads,
            slides: |layer| layer % 2 == 0,
            shares: |layer| layer.checked_sub(2),
            value_norm: true,
            score_scale: Some(1.0),
            own_inputs: 8,
            keys: {
                let own = [("attention.shared_kv_layers", 2u32), ("embedding_length_per_layer_input", 8)];
                let own = own.map(|(key, value)| (key, Value::from(value)));
                [window(2), own.to_vec()].concat()
            },
            ..gemma("gemma4")
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
        experts(
            Style { qkv_bias: true, keys: vec![shared_key()], ..halves("qwen2moe") },
            Mixture { normalise: false, shared: 20, shared_gate: true, ..MIXTURE },
        ),
        lfm2("lfm2", vec![]),
        experts(lfm2("lfm2moe", late()), Mixture { shared: 0, ..late_sigmoid }),
        delta("qwen35", |layer| if layer == 3 { &[Mixer::Attention] } else { &[INTERLEAVED] }),
        experts(
            Style {
                keys: [recurrence(), vec![shared_key(), ("full_attention_interval", Value::from(2u32))]].concat(),
                ..delta("qwen35moe", |layer| if layer % 2 == 1 { &[Mixer::Attention] } else { &[INTERLEAVED] })
            },
            Mixture { shared: 20, shared_gate: true, fused: true, ..MIXTURE },
        ),
        experts(
            Style {
                keys: [recurrence(), vec![shared_key()]].concat(),
                ..delta("qwen3next", |layer| if layer == 3 { &[Mixer::Attention] } else { &[OF_GROUPS] })
            },
            Mixture { shared: 20, shared_gate: true, ..MIXTURE },
        ),
        experts(
            Style {
                keys: [recurrence(), vec![shared_key()]].concat(),
                ..delta("qwen3next", |layer| if layer == 3 { &[Mixer::Attention] } else { &[FUSED] })
            },
            Mixture { shared: 20, shared_gate: true, ..MIXTURE },
        ),
        Style { head_norm: HeadNorm::Heads, fused: true, tied: true, ..halves("openelm") },
        experts(
            Style {
                unit: Unit::Relu,
                rotates: |layer| layer % 4 != 0,
                keys: vec![
                    ("attention.sliding_window", Value::from(4096u32)),
                    ("expert_gating_func", Value::from(2u32)),
                ],
                ..halves("smallthinker")
            },
            Mixture { scores: Scores::Sigmoid, early: true, ..MIXTURE },
        ),
        experts(
            Style { rotates: |layer| layer != 3, head_norm: HeadNorm::Bare, ..llama("llama4") },
            Mixture {
                scores: Scores::Sigmoid,
                normalise: false,
                weighed: true,
                shared: EXPERT_INNER,
                step: 2,
                ..MIXTURE
            },
        ),
        Style {
            mixers: |layer| if layer == 2 { &[Mixer::Attention] } else { &[Mixer::Plamo] },
            head_norm: HeadNorm::EachHead,
            order: Order::Around,
            fused: true,
            fused_up: true,
            keys: hybrid(),
            ..halves("plamo2")
        },
        experts(
            Style {
                mixers: |_| &[Mixer::Latent { absorbed: true, narrow_query: true }],
                positions: Positions::Neighbours(LATENT_ROTATED),
                keys: [latent(true), late()].concat(),
                ..llama("deepseek2")
            },
            Mixture { fused: true, ..late_sigmoid },
        ),
        Style {
            mixers: |_| &[Mixer::Latent { absorbed: false, narrow_query: false }],
            positions: Positions::Neighbours(LATENT_ROTATED),
            keys: latent(false),
            ..llama("deepseek2")
        },
        Style {
            mixers: |_| &[Mixer::Latent { absorbed: false, narrow_query: true }],
            positions: Positions::Halves(LATENT_ROTATED),
            embedding_scale: 12.0,
            residual_scale: 0.7,
            logit_factor: 256.0 / WIDTH as f64,
            keys: latent(false),
            ..halves("minicpm3")
        },
        experts(
            Style {
                mixers: |layer| match layer {
                    2 => &[Mixer::Latent { absorbed: true, narrow_query: false }],
                    _ => &[Mixer::Kda],
                },
                positions: Positions::None,
                keys: {
                    let mut keys = [latent(true), late()].concat();
                    keys.retain(|(key, _)| *key != "attention.head_count_kv");
                    keys.push(("attention.head_count_kv", by_layer([0, 0, 1, 0])));
                    keys.push(("ssm.conv_kernel", Value::from(KERNEL as u32)));
                    keys.push(("kda.head_dim", Value::from(SSM_STATE as u32)));
                    keys
                },
                ..llama("kimi-linear")
            },
            late_sigmoid,
        ),
        scan("mamba", |_| &[Mixer::Mamba { norms: MambaNorms::None }], vec![]),
        scan("mamba", |_| &[Mixer::Mamba { norms: MambaNorms::Bare }], vec![("ssm.dt_b_c_rms", Value::from(true))]),
        scan("mamba2", |_| &[Mixer::Mamba2 { norm: true }], vec![]),
        Style {
            mixers: |layer| if layer == 2 { &[Mixer::Attention] } else { &[Mixer::Mamba2 { norm: true }] },
            keys: [scaled("").keys, hybrid()].concat(),
            ..scaled("granitehybrid")
        },
        experts(
            Style {
                mixers: |layer| if layer == 2 { &[Mixer::Attention] } else { &[Mixer::Mamba2 { norm: true }] },
                keys: [scaled("").keys, hybrid(), vec![shared_key()]].concat(),
                ..scaled("granitehybrid")
            },
            Mixture { shared: 20, ..MIXTURE },
        ),
        Style {
            mixers: |_| &[Mixer::Attention, Mixer::Mamba2 { norm: false }],
            keys: recurrence(),
            ..halves("falcon-h1")
        },
        nemotron_h("nemotron_h", vec![]),
        experts(
            nemotron_h("nemotron_h_moe", [gating(), vec![shared_key()]].concat()),
            Mixture { shared: 20, ..sigmoid },
        ),
        experts(
            Style {
                positions: Positions::None,
                mixers: |layer| match layer {
                    2 => &[Mixer::Attention],
                    _ => &[Mixer::Mamba { norms: MambaNorms::Weighted }],
                },
                keys: hybrid(),
                ..llama("jamba")
            },
            Mixture { normalise: false, step: 2, ..MIXTURE },
        ),
    ];
    decoders.into_iter().chain(crate::further::all()).chain(crate::kin::all()).chain(crate::encoders::all()).collect()
}

impl Style {
    /// A text; of what looks ahead, longer than any backend computes at once.
    pub fn tokens(&self) -> Vec<u32> {
        let length = if self.looks_ahead { 150 } else { 29u32 };
        (0..length).map(|at| at * at * 7 % VOCABULARY as u32).collect()
    }

    /// The request whose answer is compared; none where that is logits.
    pub fn request(&self, tokens: &[u32]) -> Option<serde_json::Value> {
        let kind = match self.output {
            Output::Logits => return None,
            Output::Mean | Output::First | Output::Last => "embedding",
            Output::Score { .. } | Output::Share => "score",
        };
        Some(serde_json::json!({ "kind": kind, "input": tokens }))
    }

    /// Whether a layer has experts.
    pub fn has_experts(&self, layer: usize) -> Option<Mixture> {
        self.mixture.filter(|mixture| layer >= mixture.from && (layer + 1).is_multiple_of(mixture.step))
    }

    /// Whether several streams pass from layer to layer.
    pub fn has_streams(&self) -> bool {
        self.name == "gemma3n"
    }

    /// Whether some layer has a state that holds the whole past.
    pub fn recurs(&self) -> bool {
        let attends = |mixer: &Mixer| matches!(mixer, Mixer::Attention | Mixer::Latent { .. } | Mixer::Product);
        self.rwkv.is_some() || (0..LAYERS).any(|layer| !(self.mixers)(layer).iter().all(attends))
    }

    /// The keys of its file, under the architecture's prefix.
    pub fn metadata(&self) -> Vec<(&'static str, Value)> {
        let rotated = match self.positions {
            Positions::Neighbours(dims) | Positions::Halves(dims) => dims,
            Positions::Alibi(_) | Positions::Table | Positions::None => HEAD,
        };
        let mut keys: Vec<(&'static str, Value)> = [
            ("block_count", LAYERS),
            ("vocab_size", VOCABULARY),
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
