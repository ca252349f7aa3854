//! A small Llama or Granite hybrid with random weights and a vocabulary of bytes, written in code: no test needs a
//! download.

use wasm_chord::gguf::testing::Writer;
use wasm_chord::gguf::{Array, Value};
use wasm_chord::quant::Dtype;

/// The shape of a random model.
#[derive(Clone, Copy)]
pub struct Shape {
    pub layers: u32,
    pub embedding: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub feed_forward: u32,
    pub context: u32,
    /// The head multiplies with the embedding table.
    pub is_tied: bool,
    /// Only the second of two layers attends; the first one scans as Mamba 2 does.
    pub is_hybrid: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            layers: 6,
            embedding: 64,
            heads: 4,
            kv_heads: 2,
            feed_forward: 96,
            context: 128,
            is_tied: false,
            is_hybrid: false,
        }
    }
}

/// Tokens of the vocabulary: unknown, start, end, and one for each byte.
pub const VOCABULARY: u64 = 3 + 256;

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

/// F32 values of mean 0 in a reproducible order.
fn values(state: &mut u64, count: u64, scale: f32) -> Vec<u8> {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 2.0 * scale
    };
    (0..count).flat_map(|_| next().to_le_bytes()).collect()
}

/// The tokens of the vocabulary and their kinds.
fn vocabulary() -> (Vec<String>, Vec<i32>) {
    let specials = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let tokens = specials.chain((0..256).map(|b| format!("<0x{b:02X}>"))).collect();
    (tokens, [2, 3, 3].into_iter().chain([6; 256]).collect())
}

/// The pairs that list the vocabulary.
fn with_vocabulary(file: Writer, (tokens, kinds): (Vec<String>, Vec<i32>)) -> Writer {
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    file.pair("tokenizer.ggml.tokens", tokens.as_slice())
        .pair("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)))
}

/// The pairs of the tokenizer.
pub fn with_tokenizer(file: Writer) -> Writer {
    let file = file
        .pair("tokenizer.ggml.model", "llama")
        .pair("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; VOCABULARY as usize])))
        .pair("tokenizer.ggml.bos_token_id", 1u32)
        .pair("tokenizer.ggml.eos_token_id", 2u32)
        .pair("tokenizer.chat_template", TEMPLATE);
    with_vocabulary(file, vocabulary())
}

/// The model with other tokens in the place of some: id, text and kind of each.
pub fn renamed(others: &[(usize, &str, i32)]) -> Writer {
    let (mut tokens, mut kinds) = vocabulary();
    for &(id, text, kind) in others {
        (tokens[id], kinds[id]) = (text.into(), kind);
    }
    let file = writer(Shape::default(), |_, _| {});
    with_vocabulary(file.without("tokenizer.ggml.tokens").without("tokenizer.ggml.token_type"), (tokens, kinds))
}

/// The model with a template of its own, and with other tokens in the place of some: id, text and kind of each.
pub fn speaking(shape: Shape, template: &str, others: &[(usize, &str, i32)]) -> Vec<u8> {
    let (mut tokens, mut kinds) = vocabulary();
    for &(id, text, kind) in others {
        (tokens[id], kinds[id]) = (text.into(), kind);
    }
    let replaced = ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.chat_template"];
    let file = replaced.iter().fold(writer(shape, |_, _| {}), |file, name| file.without(name));
    with_vocabulary(file, (tokens, kinds)).pair("tokenizer.chat_template", template).file()
}

/// A model that writes `pieces` behind a line feed, one after the other, and ends: each is a token in the place of a
/// byte's, of the kind beside it. Every token has a dimension of its own, which the head turns into its successor, and
/// the layers add nothing.
pub fn reciting(template: &str, pieces: &[(&str, i32)]) -> Vec<u8> {
    let (mut tokens, mut kinds) = vocabulary();
    let (line_feed, end, first) = (3 + 10, 2, 3 + 128);
    let ids = first..first + pieces.len();
    for (id, &(text, kind)) in ids.clone().zip(pieces) {
        (tokens[id], kinds[id]) = (text.into(), kind);
    }
    let chain: Vec<usize> = [line_feed].into_iter().chain(ids).chain([end]).collect();
    let shape = Shape::default();
    let width = shape.embedding as usize;
    assert!(pieces.len() < width);
    let file = writer(shape, |name, data| {
        let (after, scale) = match name {
            "token_embd.weight" => (0, 1.0f32),
            "output.weight" => (1, 10.0),
            "output_norm.weight" => {
                return data.chunks_mut(4).for_each(|value| value.copy_from_slice(&1f32.to_le_bytes()));
            }
            _ if name.contains("attn_output") || name.contains("ffn_down") => return data.fill(0),
            _ => return,
        };
        data.fill(0);
        for (dimension, token) in chain[after..].iter().take(pieces.len() + 1).enumerate() {
            let at = (token * width + dimension) * 4;
            data[at..at + 4].copy_from_slice(&scale.to_le_bytes());
        }
    });
    let replaced = ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.chat_template"];
    let file = replaced.iter().fold(file, |file, name| file.without(name));
    with_vocabulary(file, (tokens, kinds)).pair("tokenizer.chat_template", template).file()
}

/// Metadata and tensors; `patch` may replace a tensor's bytes before it is written.
pub fn writer(shape: Shape, mut patch: impl FnMut(&str, &mut Vec<u8>)) -> Writer {
    let Shape { layers, embedding, heads, kv_heads, feed_forward, context, is_tied, is_hybrid } = shape;
    let architecture = if is_hybrid { "granitehybrid" } else { "llama" };
    let mut file = Writer::new()
        .pair("general.architecture", architecture)
        .pair("general.name", "random")
        .pair(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 1e-5f32);
    for (key, value) in [
        ("block_count", layers),
        ("context_length", context),
        ("embedding_length", embedding),
        ("feed_forward_length", feed_forward),
        ("attention.head_count", heads),
    ] {
        file = file.pair(&format!("{architecture}.{key}"), value);
    }
    let scans = |layer: u32| is_hybrid && layer.is_multiple_of(2);
    let by_layer = (0..layers).map(|layer| if scans(layer) { 0 } else { kv_heads });
    file = match is_hybrid {
        true => file.pair("granitehybrid.attention.head_count_kv", Value::Array(Array::U32(by_layer.collect()))),
        false => file.pair("llama.attention.head_count_kv", kv_heads),
    };
    let (inner, state, ssm_heads, kernel) = (2 * embedding, 4, 2, 3);
    if is_hybrid {
        for (key, value) in [
            ("inner_size", inner),
            ("state_size", state),
            ("time_step_rank", ssm_heads),
            ("group_count", 1),
            ("conv_kernel", kernel),
        ] {
            file = file.pair(&format!("granitehybrid.ssm.{key}"), value);
        }
    }
    file = with_tokenizer(file);
    let (e, f) = (u64::from(embedding), u64::from(feed_forward));
    let kv = e / u64::from(heads) * u64::from(kv_heads);
    let mut tensors = vec![
        ("token_embd.weight".to_string(), vec![e, VOCABULARY]),
        ("output_norm.weight".into(), vec![e]),
        ("output.weight".into(), vec![e, VOCABULARY]),
    ];
    tensors.truncate(if is_tied { 2 } else { 3 });
    let attention: &[(&str, Vec<u64>)] = &[
        ("attn_norm.weight", vec![e]),
        ("attn_q.weight", vec![e, e]),
        ("attn_k.weight", vec![e, kv]),
        ("attn_v.weight", vec![e, kv]),
        ("attn_output.weight", vec![e, e]),
    ];
    let [inner, state, ssm_heads, kernel] = [inner, state, ssm_heads, kernel].map(u64::from);
    let mixed = inner + 2 * state;
    let scan: &[(&str, Vec<u64>)] = &[
        ("attn_norm.weight", vec![e]),
        ("ssm_in.weight", vec![e, inner + mixed + ssm_heads]),
        ("ssm_conv1d.weight", vec![kernel, mixed]),
        ("ssm_conv1d.bias", vec![mixed]),
        ("ssm_dt.bias", vec![ssm_heads]),
        ("ssm_a", vec![1, ssm_heads]),
        ("ssm_d", vec![1, ssm_heads]),
        ("ssm_norm.weight", vec![inner, 1]),
        ("ssm_out.weight", vec![inner, e]),
    ];
    let feed_forward: &[(&str, Vec<u64>)] = &[
        ("ffn_norm.weight", vec![e]),
        ("ffn_gate.weight", vec![e, f]),
        ("ffn_up.weight", vec![e, f]),
        ("ffn_down.weight", vec![f, e]),
    ];
    for layer in 0..layers {
        let mixer = if scans(layer) { scan } else { attention };
        for (name, shape) in mixer.iter().chain(feed_forward) {
            tensors.push((format!("blk.{layer}.{name}"), shape.clone()));
        }
    }
    let mut state = 42;
    for (name, shape) in tensors {
        let scale = if shape.len() == 1 { 1.0 } else { 1.7 / (shape[0] as f32).sqrt() };
        let mut data = values(&mut state, shape.iter().product(), scale);
        if name.ends_with("ssm_a") {
            // What decays has a rate below zero.
            data.chunks_exact_mut(4).for_each(|value| value[3] |= 0x80);
        }
        patch(&name, &mut data);
        file = file.tensor(&name, &shape, Dtype::F32, &data);
    }
    file
}

/// The bytes of the file.
pub fn file(shape: Shape) -> Vec<u8> {
    writer(shape, |_, _| {}).file()
}
