//! LoRA adapters for random models, and the models that they come to if they are joined to the weights.

use super::random_model::{Shape, VOCABULARY, writer};
use std::collections::HashMap;
use wasm_chord::engine::{AdapterScale, OpenOptions};
use wasm_chord::gguf::testing::Writer;
use wasm_chord::quant::Dtype;

/// A random adapter.
pub struct Lora {
    pub alpha: f32,
    pub rank: usize,
    pub changes: Vec<Change>,
}

/// What becomes of one tensor.
pub struct Change {
    pub name: String,
    columns: usize,
    rows: usize,
    /// A row for each value between the factors, or of the embedding's table for each token.
    a: Vec<f32>,
    /// A row for each output.
    b: Vec<f32>,
}

impl Change {
    fn is_table(&self) -> bool {
        self.name == "token_embd.weight"
    }

    /// What is added to the tensor, row by row.
    fn product(&self, rank: usize) -> Vec<f32> {
        let (a, b) = (&self.a, &self.b);
        let value = |row: usize, column: usize, r: usize| match self.is_table() {
            true => b[column * rank + r] * a[row * rank + r],
            false => b[row * rank + r] * a[r * self.columns + column],
        };
        let cell = |at: usize| (0..rank).map(|r| value(at / self.columns, at % self.columns, r)).sum();
        (0..self.rows * self.columns).map(cell).collect()
    }
}

/// An adapter of the random model's tensors whose names end so, in every layer.
pub fn lora(shape: Shape, seed: u64, alpha: f32, rank: usize, endings: &[&str]) -> Lora {
    let (e, f) = (shape.embedding as usize, shape.feed_forward as usize);
    let kv = e / shape.heads as usize * shape.kv_heads as usize;
    let sizes = [
        ("token_embd", e, VOCABULARY as usize),
        ("output", e, VOCABULARY as usize),
        ("attn_q", e, e),
        ("attn_k", e, kv),
        ("attn_v", e, kv),
        ("attn_output", e, e),
        ("ffn_gate", e, f),
        ("ffn_up", e, f),
        ("ffn_down", f, e),
    ];
    let mut state = seed;
    let mut values = |count: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.3
        };
        (0..count).map(|_| next()).collect()
    };
    let mut changes = Vec::new();
    for (ending, columns, rows) in sizes.into_iter().filter(|(name, ..)| endings.contains(name)) {
        let is_table = ending == "token_embd";
        let layers = if is_table || ending == "output" { 1 } else { shape.layers };
        for layer in 0..layers {
            let name = match ending {
                "token_embd" | "output" => format!("{ending}.weight"),
                _ => format!("blk.{layer}.{ending}.weight"),
            };
            let (a, b) = if is_table { (rows, columns) } else { (columns, rows) };
            changes.push(Change { name, columns, rows, a: values(a * rank), b: values(b * rank) });
        }
    }
    Lora { alpha, rank, changes }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Lora {
    /// Its file.
    pub fn writer(&self) -> Writer {
        let mut file = Writer::new()
            .pair("general.type", "adapter")
            .pair("general.architecture", "llama")
            .pair("adapter.type", "lora")
            .pair("adapter.lora.alpha", self.alpha);
        for change in &self.changes {
            let rank = self.rank as u64;
            let a = if change.is_table() { [rank, change.rows as u64] } else { [change.columns as u64, rank] };
            let outputs = if change.is_table() { change.columns } else { change.rows };
            file = file.tensor(&format!("{}.lora_a", change.name), &a, Dtype::F32, &bytes(&change.a)).tensor(
                &format!("{}.lora_b", change.name),
                &[rank, outputs as u64],
                Dtype::F32,
                &bytes(&change.b),
            );
        }
        file
    }

    /// The bytes of its file.
    pub fn file(&self) -> Vec<u8> {
        self.writer().file()
    }
}

/// The random model with so much of each adapter joined to its weights. Its head has a matrix of its own: an adapter of
/// the table changes no head that shares it.
pub fn merged(shape: Shape, adapters: &[(&Lora, f32)]) -> Vec<u8> {
    let mut tensors: HashMap<String, Vec<u8>> = HashMap::new();
    writer(shape, |name, data| {
        tensors.insert(name.into(), data.clone());
    });
    let patch = |name: &str, data: &mut Vec<u8>| {
        let shared = || &tensors["token_embd.weight"];
        data.clone_from(tensors.get(name).unwrap_or_else(shared));
        for (lora, scale) in adapters {
            for change in lora.changes.iter().filter(|change| change.name == name) {
                let factor = if lora.alpha == 0.0 { *scale } else { scale * lora.alpha / lora.rank as f32 };
                for (value, added) in data.chunks_exact_mut(4).zip(change.product(lora.rank)) {
                    let before = f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
                    value.copy_from_slice(&(before + factor * added).to_le_bytes());
                }
            }
        }
    };
    writer(Shape { is_tied: false, ..shape }, patch).file()
}

/// Options with adapters of these names and scales.
pub fn options(adapters: &[(&str, f32)]) -> OpenOptions {
    let named = |(name, scale): &(&str, f32)| AdapterScale { name: (*name).into(), scale: Some(*scale) };
    OpenOptions { adapters: adapters.iter().map(named).collect(), ..OpenOptions::default() }
}
