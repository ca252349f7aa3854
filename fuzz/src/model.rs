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

/// Tensors by name and shape.
type Tensors = Vec<(String, Vec<u64>)>;

/// Width of the residual stream, and rows of the table of tokens.
const WIDTH: u64 = 32;
const VOCABULARY: u64 = 24;

/// Keys that only some architectures read.
const FURTHER: [(&str, u64); 33] = [
    ("leading_dense_block_count", 1),
    ("expert_feed_forward_length", 32),
    ("expert_shared_feed_forward_length", 16),
    ("expert_shared_count", 1),
    ("expert_gating_func", 2),
    ("expert_group_count", 1),
    ("nextn_predict_layers", 0),
    ("attention.sliding_window_pattern", 2),
    ("attention.key_length_swa", 8),
    ("attention.value_length_swa", 8),
    ("rope.dimension_count_swa", 8),
    ("attention.shared_kv_layers", 1),
    ("attention.kv_lora_rank", 12),
    ("attention.key_length_mla", 8),
    ("attention.value_length_mla", 8),
    ("full_attention_interval", 2),
    ("ssm.conv_kernel", 4),
    ("ssm.inner_size", 64),
    ("ssm.state_size", 8),
    ("ssm.time_step_rank", 4),
    ("ssm.group_count", 2),
    ("shortconv.l_cache", 3),
    ("kda.head_dim", 8),
    ("wkv.head_size", 8),
    ("time_mix_extra_dim", 6),
    ("time_decay_extra_dim", 6),
    ("token_shift_count", 2),
    ("rescale_every_n_layers", 1),
    ("embedding_length_per_layer_input", 32),
    ("interleave_moe_layer_step", 1),
    ("moe_every_n_layers", 2),
    ("attention.temperature_length", 256),
    ("pooling_type", 1),
];
const FURTHER_FLOATS: [(&str, f32); 9] = [
    ("attention.layer_norm_epsilon", 1e-5),
    ("rope.freq_base_swa", 1000.0),
    ("rope.scaling.yarn_log_multiplier", 0.1),
    ("rope.scaling.alpha", 2.0),
    ("attention.temperature_scale", 0.1),
    ("attention.value_scale", 0.5),
    ("attention.max_alibi_bias", 8.0),
    ("attention.clamp_kqv", 0.5),
    ("logit_scale", 0.25),
];

/// The tensors that an architecture asks for: it is asked again with each that it names in an error, until it opens or
/// wants something else.
fn sound(architecture: &str, experts: u64) -> Tensors {
    let mut tensors = vec![("token_embd.weight".to_string(), vec![WIDTH, VOCABULARY])];
    for _ in 0..1000 {
        // No number of this generator's is drawn: everything is as it should be.
        let mut random = Rng::with_seed(0);
        let mut sketch =
            Sketch { random: &mut random, architecture, writer: Writer::new(), data_bytes: 0, is_sound: true };
        sketch.keys(experts);
        sketch.further_keys();
        tensors.iter().for_each(|(name, dimensions)| sketch.tensor(name, dimensions, Dtype::F32));
        let mut parser = Parser::new(None);
        let header = parser.feed(&sketch.writer.header()).and_then(|_| parser.finish()).expect("a sound header");
        let outcome = Config::from_header(&header, None).and_then(|config| compile(&header, &config));
        let Err(error) = outcome else { break };
        let Some(name) = error.details.get("tensor").and_then(|name| name.as_str()) else { break };
        let dimensions = needed(&error.message).unwrap_or_else(|| vec![1]);
        match tensors.iter_mut().find(|(other, _)| other == name) {
            Some((_, known)) if *known == dimensions => break,
            Some((_, known)) => *known = dimensions,
            None => tensors.push((name.to_string(), dimensions)),
        }
    }
    tensors
}

/// The shape that an error says a tensor needs: behind "; ", in brackets or as a number of values.
fn needed(message: &str) -> Option<Vec<u64>> {
    let (_, needed) = message.split_once("; ")?;
    let numbers = needed.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let count = if needed.starts_with('[') { usize::MAX } else { 1 };
    Some(numbers.take(count).filter_map(|part| part.parse().ok()).collect())
}

pub struct Model {
    /// Of each architecture the tensors of a model that opens, beside those that a sketch has anyway.
    /// Without experts and with them.
    sound: Vec<[Tensors; 2]>,
}

impl Model {
    pub fn new() -> Model {
        Model { sound: REGISTRY.iter().map(|row| [0, 4].map(|experts| sound(row.name, experts))).collect() }
    }
}

impl Target for Model {
    fn generate(&self, random: &mut Rng) -> Vec<u8> {
        let number = random.usize(..REGISTRY.len());
        let architecture = REGISTRY[number].name;
        let experts = if random.u8(..4) == 0 { 4 } else { 0 };
        // Half of the inputs are what the architecture asks for, the others what models have in common.
        if random.bool() {
            let mut sketch = Sketch { random, architecture, writer: Writer::new(), data_bytes: 0, is_sound: false };
            sketch.keys(experts);
            // There are many of them, of which one that is wrong hides the others.
            sketch.is_sound = sketch.random.u8(..4) > 0;
            sketch.further_keys();
            sketch.is_sound = false;
            for (name, dimensions) in &self.sound[number][usize::from(experts > 0)] {
                sketch.tensor(name, dimensions, Dtype::F32);
            }
            return sketch.writer.header();
        }
        let writer = Sketch { random, architecture, writer: Writer::new(), data_bytes: 0, is_sound: false };
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
                    // Some groups have a part of a tensor.
                    assert!(weight.rows as u64 * weight.columns as u64 <= values, "{}", weight.name);
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
    /// Whether nothing shall be wrong.
    is_sound: bool,
}

impl Sketch<'_> {
    /// A number below `end`; the greatest where nothing shall be wrong.
    fn drawn(&mut self, end: u8) -> u8 {
        if self.is_sound { end - 1 } else { self.random.u8(..end) }
    }

    /// A key of the architecture with an integer, of a wrong type once in a while.
    fn integer(&mut self, name: &str, value: u64) {
        let value = self.number(value, 32);
        let value = match self.drawn(64) {
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
        let changed = self.drawn(16) == 0;
        let value = if changed { extremes[self.random.usize(..extremes.len())] } else { value };
        self.pair(name, value.into());
    }

    /// A key of the architecture, missing once in a while.
    fn pair(&mut self, name: &str, value: Value) {
        if self.drawn(32) > 0 {
            let key = format!("{}.{name}", self.architecture);
            self.writer = std::mem::take(&mut self.writer).pair(&key, value);
        }
    }

    /// The number, or one time in 32 another.
    fn number(&mut self, value: u64, bits: usize) -> u64 {
        if self.drawn(32) == 0 { changed_number(self.random, value, bits) } else { value }
    }

    /// A tensor's entry behind the data of those before it; missing, mistyped or misshapen once in
    /// a while.
    fn tensor(&mut self, name: &str, dimensions: &[u64], dtype: Dtype) {
        let mut dimensions = dimensions.to_vec();
        let mut dtype = dtype;
        match self.drawn(u8::MAX) {
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
        self.keys(experts);
        self.tensor("token_embd.weight", &[WIDTH, VOCABULARY], Dtype::Q8_0);
        self.tensor("output_norm.weight", &[WIDTH], Dtype::F32);
        (0..2).for_each(|layer| self.layer(layer, WIDTH, experts));
        self.writer
    }

    /// Keys that architectures share.
    fn keys(&mut self, experts: u64) {
        self.writer = std::mem::take(&mut self.writer).pair("general.architecture", self.architecture);
        for (name, value) in [
            ("block_count", 2),
            ("context_length", 128),
            ("embedding_length", WIDTH),
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
    }

    /// Keys of recurrences, latent attention, windows, experts and whatever else only some architectures read.
    fn further_keys(&mut self) {
        for (name, value) in FURTHER {
            self.integer(name, value);
        }
        for (name, value) in FURTHER_FLOATS {
            self.float(name, value);
        }
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
