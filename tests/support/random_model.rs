//! A small Llama with random weights and a vocabulary of bytes, written in code: no test needs a download.

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
}

impl Default for Shape {
    fn default() -> Self {
        Shape { layers: 6, embedding: 64, heads: 4, kv_heads: 2, feed_forward: 96, context: 128, is_tied: false }
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

/// The model with other tokens in the place of some: id, text and kind of each.
pub fn renamed(others: &[(usize, &str, i32)]) -> Writer {
    let (mut tokens, mut kinds) = vocabulary();
    for &(id, text, kind) in others {
        (tokens[id], kinds[id]) = (text.into(), kind);
    }
    let file = writer(Shape::default(), |_, _| {});
    with_vocabulary(file.without("tokenizer.ggml.tokens").without("tokenizer.ggml.token_type"), (tokens, kinds))
}

/// Metadata and tensors; `patch` may replace a tensor's bytes before it is written.
pub fn writer(shape: Shape, mut patch: impl FnMut(&str, &mut Vec<u8>)) -> Writer {
    let Shape { layers, embedding, heads, kv_heads, feed_forward, context, is_tied } = shape;
    let mut file = Writer::new()
        .pair("general.architecture", "llama")
        .pair("general.name", "random")
        .pair("llama.block_count", layers)
        .pair("llama.context_length", context)
        .pair("llama.embedding_length", embedding)
        .pair("llama.feed_forward_length", feed_forward)
        .pair("llama.attention.head_count", heads)
        .pair("llama.attention.head_count_kv", kv_heads)
        .pair("llama.attention.layer_norm_rms_epsilon", 1e-5f32)
        .pair("tokenizer.ggml.model", "llama")
        .pair("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; VOCABULARY as usize])))
        .pair("tokenizer.ggml.bos_token_id", 1u32)
        .pair("tokenizer.ggml.eos_token_id", 2u32)
        .pair("tokenizer.chat_template", TEMPLATE);
    file = with_vocabulary(file, vocabulary());
    let (e, f) = (u64::from(embedding), u64::from(feed_forward));
    let kv = e / u64::from(heads) * u64::from(kv_heads);
    let mut tensors = vec![
        ("token_embd.weight".to_string(), vec![e, VOCABULARY]),
        ("output_norm.weight".into(), vec![e]),
        ("output.weight".into(), vec![e, VOCABULARY]),
    ];
    tensors.truncate(if is_tied { 2 } else { 3 });
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", vec![e]),
            ("attn_q", vec![e, e]),
            ("attn_k", vec![e, kv]),
            ("attn_v", vec![e, kv]),
            ("attn_output", vec![e, e]),
            ("ffn_norm", vec![e]),
            ("ffn_gate", vec![e, f]),
            ("ffn_up", vec![e, f]),
            ("ffn_down", vec![f, e]),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    let mut state = 42;
    for (name, shape) in tensors {
        let scale = if shape.len() == 1 { 1.0 } else { 1.7 / (shape[0] as f32).sqrt() };
        let mut data = values(&mut state, shape.iter().product(), scale);
        patch(&name, &mut data);
        file = file.tensor(&name, &shape, Dtype::F32, &data);
    }
    file
}

/// The bytes of the file.
pub fn file(shape: Shape) -> Vec<u8> {
    writer(shape, |_, _| {}).file()
}
