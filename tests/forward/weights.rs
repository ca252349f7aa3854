//! Tensors at random, made when they are asked for first, and the file that has them.

use crate::styles::{Style, VOCABULARY};
use std::collections::HashMap;
use wasm_chord::gguf::testing::Writer;
use wasm_chord::quant::Dtype;
use wasm_chord::quant::random::Noise;

/// A tensor: the shape as files have it, innermost first, and its values.
struct Tensor {
    name: String,
    shape: Vec<u64>,
    values: Vec<f32>,
}

/// Tensors by name.
#[derive(Default)]
pub struct Weights {
    tensors: Vec<Tensor>,
    numbers: HashMap<String, usize>,
}

impl Weights {
    /// The values of a tensor of this shape: of a vector around `mean`, of others around zero, and such that
    /// products keep the size of what they multiply.
    pub fn get(&mut self, name: &str, shape: &[usize], mean: f32) -> Vec<f64> {
        let number = *self.numbers.entry(name.into()).or_insert_with(|| {
            let mut noise = Noise::new(1 + self.tensors.len() as u64);
            let count: usize = shape.iter().product();
            let size = if shape.len() == 1 { 0.2 } else { 1.0 / (shape[0] as f32).sqrt() };
            let values = (0..count).map(|_| mean + size * noise.normal()).collect();
            let shape = shape.iter().map(|n| *n as u64).collect();
            self.tensors.push(Tensor { name: name.into(), shape, values });
            self.tensors.len() - 1
        });
        let tensor = &self.tensors[number];
        assert!(tensor.shape.iter().map(|n| *n as usize).eq(shape.iter().copied()), "{name} has one shape");
        tensor.values.iter().map(|v| f64::from(*v)).collect()
    }

    /// A file of what was asked for.
    pub fn file(&self, style: &Style) -> Vec<u8> {
        let tokens: Vec<String> = (0..VOCABULARY).map(|token| format!("t{token}")).collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let mut file = Writer::new()
            .pair("general.architecture", style.name)
            .pair("tokenizer.ggml.model", "none")
            .pair("tokenizer.ggml.tokens", tokens.as_slice());
        for (key, value) in style.metadata() {
            // These keys are no architecture's.
            let key = if key.starts_with("xielu.") { key.to_string() } else { format!("{}.{key}", style.name) };
            file = file.pair(&key, value);
        }
        for tensor in &self.tensors {
            let bytes: Vec<u8> = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            file = file.tensor(&tensor.name, &tensor.shape, Dtype::F32, &bytes);
        }
        file.file()
    }
}
