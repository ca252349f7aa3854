//! Configuration and program of a model, from headers of which a few numbers are wrong.

use crate::allocation::within;
use crate::mutate::changed_number;
use crate::runner::Target;
use fastrand::Rng;
use wasm_chord::gguf::testing::{TensorEntry, Writer};
use wasm_chord::gguf::{Array, Parser, Value};
use wasm_chord::model::{Config, REGISTRY, compile};
use wasm_chord::quant::Dtype;
use wasm_chord::{ErrorCode, Result};

/// Most memory for the program of a header of a few kilobytes.
const BYTES_MAX: usize = 4 << 20;

pub struct Model;

impl Target for Model {
    fn generate(&self, random: &mut Rng) -> Vec<u8> {
        let architecture = REGISTRY[random.usize(..REGISTRY.len())].name;
        let experts = if random.u8(..4) == 0 { 4 } else { 0 };
        let writer = Sketch { random, architecture, writer: Writer::new(), data_bytes: 0 };
        writer.model(experts).header()
    }

    fn run(&self, input: &[u8], random: &mut Rng) -> bool {
        let mut parser = Parser::new(None);
        let Ok(header) = parser.feed(input).and_then(|_| parser.finish()) else { return false };
        let context = random.bool().then(|| random.usize(..) >> random.u32(..64));
        let outcome: Result<_> = within(BYTES_MAX, || {
            let config = Config::from_header(&header, context)?;
            Ok((compile(&header, &config)?, config))
        });
        match outcome {
            Ok((program, config)) => {
                assert_eq!(program.groups.len(), config.layers.len() + 2);
                for weight in &program.weights {
                    let info = header.tensor(&weight.name).expect("a weight is a tensor of the file");
                    let values: u64 = info.dimensions.iter().product();
                    assert_eq!(weight.rows as u64 * weight.columns as u64, values, "{}", weight.name);
                }
                true
            }
            Err(error) => {
                let allowed =
                    [ErrorCode::InvalidModel, ErrorCode::UnsupportedArchitecture, ErrorCode::InvalidParameter];
                assert!(allowed.contains(&error.code), "{error:?}");
                false
            }
        }
    }
}

/// Draws the header of a tiny model, in which now and then a number is not what it should be.
struct Sketch<'a> {
    random: &'a mut Rng,
    architecture: &'a str,
    writer: Writer,
    /// Of the tensors so far.
    data_bytes: u64,
}

impl Sketch<'_> {
    /// A key of the architecture with an integer, of a wrong type once in a while.
    fn integer(&mut self, name: &str, value: u64) {
        let value = self.number(value, 32);
        let value = match self.random.u8(..64) {
            0 => Value::from(value as f32),
            1 => Value::from(Array::U32(vec![value as u32; 2])),
            2 => Value::from(value as i32),
            _ => Value::from(value as u32),
        };
        self.pair(name, value);
    }

    /// A key of the architecture with a float.
    fn float(&mut self, name: &str, value: f32) {
        let extremes = [0.0, -1.0, 1e-38, 1e38, f32::NAN, f32::INFINITY];
        let changed = self.random.u8(..16) == 0;
        let value = if changed { extremes[self.random.usize(..extremes.len())] } else { value };
        self.pair(name, value.into());
    }

    /// A key of the architecture, missing once in a while.
    fn pair(&mut self, name: &str, value: Value) {
        if self.random.u8(..32) > 0 {
            let key = format!("{}.{name}", self.architecture);
            self.writer = std::mem::take(&mut self.writer).pair(&key, value);
        }
    }

    /// The number, or one time in 32 another.
    fn number(&mut self, value: u64, bits: usize) -> u64 {
        if self.random.u8(..32) == 0 { changed_number(self.random, value, bits) } else { value }
    }

    /// A tensor's entry behind the data of those before it; missing, mistyped or misshapen once in
    /// a while.
    fn tensor(&mut self, name: &str, dimensions: &[u64], dtype: Dtype) {
        let mut dimensions = dimensions.to_vec();
        let mut dtype = dtype;
        match self.random.u8(..) {
            0 => return,
            1 => dtype = Dtype::ALL[self.random.usize(..Dtype::ALL.len())],
            2 => {
                let index = self.random.usize(..dimensions.len());
                dimensions[index] = changed_number(self.random, dimensions[index], 64);
            }
            3 => dimensions.push(self.random.u64(1..3)),
            _ => {}
        }
        let rows = dimensions[1..].iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
        let bytes = dtype.row_bytes(dimensions[0]).zip(rows).and_then(|(row, rows)| row.checked_mul(rows)).unwrap_or(0);
        let entry = TensorEntry { name: name.into(), dimensions, ggml_type: dtype.ggml_id(), offset: self.data_bytes };
        self.writer = std::mem::take(&mut self.writer).entry(entry);
        self.data_bytes = self.data_bytes.saturating_add(bytes).checked_next_multiple_of(32).unwrap_or(0);
    }

    /// A model of two layers.
    fn model(mut self, experts: u64) -> Writer {
        let (width, vocabulary) = (32, 24);
        self.writer = std::mem::take(&mut self.writer).pair("general.architecture", self.architecture);
        for (name, value) in [
            ("block_count", 2),
            ("context_length", 128),
            ("embedding_length", width),
            ("feed_forward_length", 64),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", 8),
            ("attention.value_length", 8),
            ("attention.sliding_window", 16),
            ("rope.dimension_count", 8),
            ("rope.scaling.original_context_length", 32),
            ("expert_count", experts),
            ("expert_used_count", experts / 2),
        ] {
            self.integer(name, value);
        }
        for (name, value) in [
            ("attention.layer_norm_rms_epsilon", 1e-6),
            ("rope.freq_base", 10_000.0),
            ("rope.scaling.factor", 4.0),
            ("final_logit_softcapping", 30.0),
        ] {
            self.float(name, value);
        }
        let scaling = ["yarn", "linear", "none", ""][self.random.usize(..4)];
        self.pair("rope.scaling.type", scaling.into());
        self.tensor("token_embd.weight", &[width, vocabulary], Dtype::Q8_0);
        self.tensor("output_norm.weight", &[width], Dtype::F32);
        (0..2).for_each(|layer| self.layer(layer, width, experts));
        self.writer
    }

    /// The tensors of a layer, in whichever of the ways the architecture has them.
    fn layer(&mut self, layer: usize, width: u64, experts: u64) {
        let (queries, keys, head, inner) = (32, 16, 8, 64);
        let fused = self.architecture == "phi3";
        let norms = ["attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"].map(|name| (name, vec![width]));
        let head_norms = ["attn_q_norm", "attn_k_norm"].map(|name| (name, vec![head]));
        let attention = match fused {
            true => vec![("attn_qkv", vec![width, queries + 2 * keys])],
            false => {
                vec![("attn_q", vec![width, queries]), ("attn_k", vec![width, keys]), ("attn_v", vec![width, keys])]
            }
        };
        let feed_forward = match (fused, experts) {
            (_, 1..) => vec![
                ("ffn_gate_exps", vec![width, inner, experts]),
                ("ffn_up_exps", vec![width, inner, experts]),
                ("ffn_down_exps", vec![inner, width, experts]),
            ],
            (true, 0) => vec![("ffn_up", vec![width, 2 * inner]), ("ffn_down", vec![inner, width])],
            (false, 0) => {
                vec![("ffn_gate", vec![width, inner]), ("ffn_up", vec![width, inner]), ("ffn_down", vec![inner, width])]
            }
        };
        let vectors = norms.into_iter().chain(head_norms).map(|(name, shape)| (name, shape, Dtype::F32));
        let matrices = attention.into_iter().chain([("attn_output", vec![queries, width])]).chain(feed_forward);
        let router = (experts > 0).then(|| ("ffn_gate_inp", vec![width, experts], Dtype::F32));
        for (name, shape, dtype) in
            vectors.chain(matrices.map(|(name, shape)| (name, shape, Dtype::Q4_0))).chain(router)
        {
            self.tensor(&format!("blk.{layer}.{name}.weight"), &shape, dtype);
        }
    }
}
