//! Mixtures of experts with random weights, written in code.

use super::random_model::{VOCABULARY, with_tokenizer};
use std::io::{self, Write};
use wasm_chord::gguf::testing::{TensorEntry, Writer};
use wasm_chord::gguf::{Array, Value};
use wasm_chord::quant::Dtype;
use wasm_chord::quant::random::{Noise, random_rows};

/// The shape of a mixture. Heads are 32 wide.
#[derive(Clone, Copy)]
pub struct Mixture {
    /// `qwen3moe`; `gpt-oss`, whose experts have biases; `lfm2moe`, whose first layer has no experts, and of which every
    /// second layer is a convolution; or `minimax-m2`. The choice of the last two has a bias.
    pub architecture: &'static str,
    pub layers: u64,
    pub embedding: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub experts: u64,
    pub used: u64,
    /// Inner width of an expert.
    pub inner: u64,
    pub context: u64,
    /// Of the matrices, but for the router's.
    pub dtype: Dtype,
    /// How much the bias of the choice favours some experts, in each layer others: the expert of rank r has a bias of
    /// −skew · ln r, beside scores between 0 and 1.
    pub skew: f32,
    /// The size of embeddings, where they have to outweigh what the layers add, so that each token chooses experts of its
    /// own. They, and the head's matrix, are F32 then.
    pub embedded: Option<f32>,
}

impl Default for Mixture {
    fn default() -> Self {
        Mixture {
            architecture: "qwen3moe",
            layers: 4,
            embedding: 64,
            heads: 2,
            kv_heads: 1,
            experts: 32,
            used: 3,
            inner: 96,
            context: 128,
            dtype: Dtype::Q8_0,
            skew: 0.0,
            embedded: None,
        }
    }
}

/// Values of a head.
const HEAD: u64 = 32;
/// Tokens that a convolution sees.
const KERNEL: u64 = 3;

/// What a tensor is filled with.
#[derive(Clone, Copy, PartialEq)]
enum Fill {
    /// Blocks of the mixture's format.
    Matrix,
    /// F32 values around 0, and around 1.
    Small,
    Norm,
    /// A bias of the choice of experts.
    Choice,
    /// Embeddings of some size.
    Embedding(f32),
}

struct Tensor {
    name: String,
    dimensions: Vec<u64>,
    fill: Fill,
}

impl Mixture {
    fn is_hybrid(&self) -> bool {
        self.architecture == "lfm2moe"
    }

    /// Whether a layer attends; else it is a convolution.
    fn attends(&self, layer: u64) -> bool {
        !self.is_hybrid() || layer % 2 == 1
    }

    fn has_experts(&self, layer: u64) -> bool {
        !self.is_hybrid() || layer > 0
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let number = |value: u64| Value::from(value as u32);
        let kv_heads = match self.is_hybrid() {
            true => {
                let by_layer = (0..self.layers).map(|layer| if self.attends(layer) { self.kv_heads as u32 } else { 0 });
                Value::Array(Array::U32(by_layer.collect()))
            }
            false => number(self.kv_heads),
        };
        let mut keys = vec![
            ("block_count", number(self.layers)),
            ("context_length", number(self.context)),
            ("embedding_length", number(self.embedding)),
            ("feed_forward_length", number(2 * self.inner)),
            ("expert_feed_forward_length", number(self.inner)),
            ("expert_count", number(self.experts)),
            ("expert_used_count", number(self.used)),
            ("attention.head_count", number(self.heads)),
            ("attention.head_count_kv", kv_heads),
            ("attention.key_length", number(HEAD)),
            ("attention.value_length", number(HEAD)),
            ("rope.dimension_count", number(HEAD)),
            ("attention.layer_norm_rms_epsilon", Value::from(1e-5f32)),
        ];
        let sigmoid = [("expert_gating_func", number(2)), ("expert_weights_norm", Value::from(true))];
        match self.architecture {
            "gpt-oss" => keys.push(("attention.sliding_window", number(7))),
            "lfm2moe" => {
                keys.extend(sigmoid);
                keys.extend([("shortconv.l_cache", number(KERNEL)), ("leading_dense_block_count", number(1))]);
            }
            "minimax-m2" => keys.extend(sigmoid),
            _ => {}
        }
        keys
    }

    fn tensors(&self) -> Vec<Tensor> {
        let Mixture { embedding, heads, kv_heads, experts, inner, .. } = *self;
        let (query, key) = (heads * HEAD, kv_heads * HEAD);
        let mut tensors = Vec::new();
        let mut add = |name: String, dimensions: &[u64], fill| {
            tensors.push(Tensor { name, dimensions: dimensions.to_vec(), fill });
        };
        let embeddings = self.embedded.map_or(Fill::Matrix, Fill::Embedding);
        add("token_embd.weight".into(), &[embedding, VOCABULARY], embeddings);
        for layer in 0..self.layers {
            let mut add = |name: &str, dimensions: &[u64], fill| add(format!("blk.{layer}.{name}"), dimensions, fill);
            add("attn_norm.weight", &[embedding], Fill::Norm);
            if self.attends(layer) {
                for (name, columns, rows) in [
                    ("attn_q", embedding, query),
                    ("attn_k", embedding, key),
                    ("attn_v", embedding, key),
                    ("attn_output", query, embedding),
                ] {
                    add(&format!("{name}.weight"), &[columns, rows], Fill::Matrix);
                    if self.architecture == "gpt-oss" {
                        add(&format!("{name}.bias"), &[rows], Fill::Small);
                    }
                }
            } else {
                add("shortconv.in_proj.weight", &[embedding, 3 * embedding], Fill::Matrix);
                add("shortconv.conv.weight", &[KERNEL, embedding], Fill::Small);
                add("shortconv.out_proj.weight", &[embedding, embedding], Fill::Matrix);
            }
            match self.architecture {
                "gpt-oss" => add("attn_sinks.weight", &[heads], Fill::Small),
                "minimax-m2" => {
                    add("attn_q_norm.weight", &[query], Fill::Norm);
                    add("attn_k_norm.weight", &[key], Fill::Norm);
                }
                _ if self.attends(layer) => {
                    add("attn_q_norm.weight", &[HEAD], Fill::Norm);
                    add("attn_k_norm.weight", &[HEAD], Fill::Norm);
                }
                _ => {}
            }
            let norm = if self.architecture == "gpt-oss" { "post_attention_norm.weight" } else { "ffn_norm.weight" };
            add(norm, &[embedding], Fill::Norm);
            if !self.has_experts(layer) {
                add("ffn_gate.weight", &[embedding, 2 * inner], Fill::Matrix);
                add("ffn_up.weight", &[embedding, 2 * inner], Fill::Matrix);
                add("ffn_down.weight", &[2 * inner, embedding], Fill::Matrix);
                continue;
            }
            add("ffn_gate_inp.weight", &[embedding, experts], Fill::Small);
            match self.architecture {
                "gpt-oss" => add("ffn_gate_inp.bias", &[experts], Fill::Small),
                "lfm2moe" | "minimax-m2" => add("exp_probs_b.bias", &[experts], Fill::Choice),
                _ => {}
            }
            for (name, columns, rows) in
                [("gate", embedding, inner), ("up", embedding, inner), ("down", inner, embedding)]
            {
                add(&format!("ffn_{name}_exps.weight"), &[columns, rows, experts], Fill::Matrix);
                if self.architecture == "gpt-oss" {
                    add(&format!("ffn_{name}_exps.bias"), &[rows, experts], Fill::Small);
                }
            }
        }
        let norm = if self.is_hybrid() { "token_embd_norm.weight" } else { "output_norm.weight" };
        add(norm.into(), &[embedding], Fill::Norm);
        // Where tokens are to vary, logits are about 1.
        let head = if self.embedded.is_some() { Fill::Small } else { Fill::Matrix };
        add("output.weight".into(), &[embedding, VOCABULARY], head);
        tensors
    }

    /// The bytes of a tensor.
    fn data(&self, tensor: &Tensor, noise: &mut Noise) -> Vec<u8> {
        let (columns, values) = (tensor.dimensions[0], tensor.dimensions.iter().product::<u64>());
        if tensor.fill == Fill::Matrix {
            return random_rows(self.dtype, columns as usize, (values / columns) as usize, noise);
        }
        let mut ranks: Vec<u64> = (1..=values).collect();
        (1..values).rev().for_each(|last| ranks.swap(last as usize, (noise.word() % (last + 1)) as usize));
        // Products with rows of it have values of about 1.
        let small = if tensor.dimensions.len() > 1 { 1.0 / (columns as f32).sqrt() } else { 0.2 };
        let mut value = |index: usize| match tensor.fill {
            Fill::Norm => 1.0 + 0.1 * noise.normal(),
            Fill::Choice => -self.skew * (ranks[index] as f32).ln(),
            Fill::Embedding(size) => size * noise.normal(),
            Fill::Small | Fill::Matrix => small * noise.normal(),
        };
        (0..values as usize).flat_map(|index| value(index).to_le_bytes()).collect()
    }

    /// Writes the file, a tensor at a time.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = with_tokenizer(Writer::new().pair("general.architecture", self.architecture));
        for (key, value) in self.keys() {
            header = header.pair(&format!("{}.{key}", self.architecture), value);
        }
        let tensors = self.tensors();
        let mut offset = 0;
        for Tensor { name, dimensions, fill } in &tensors {
            let dtype = if *fill == Fill::Matrix { self.dtype } else { Dtype::F32 };
            let (name, dimensions) = (name.clone(), dimensions.clone());
            let rows: u64 = dimensions[1..].iter().product();
            let bytes = rows * dtype.row_bytes(dimensions[0]).expect("rows of whole blocks");
            header = header.entry(TensorEntry { name, dimensions, ggml_type: dtype.ggml_id(), offset });
            offset += bytes.next_multiple_of(header.alignment);
        }
        // The header, up to where the data begins.
        out.write_all(&header.file())?;
        let mut noise = Noise::new(7);
        for tensor in &tensors {
            let mut data = self.data(tensor, &mut noise);
            data.resize(data.len().next_multiple_of(header.alignment as usize), 0);
            out.write_all(&data)?;
        }
        Ok(())
    }

    /// The bytes of the file.
    pub fn file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        self.write(&mut file).expect("memory takes it");
        file
    }
}
