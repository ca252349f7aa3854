//! The shape of a model, read from metadata and checked.

use crate::error::{ChordError, ErrorCode, Result};
use crate::gguf::{Header, Metadata, Value};
use crate::program::{Rope, RopeStyle};

/// Architectures, by the names of `general.architecture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
    Phi3,
}

impl Architecture {
    /// All of them, with their names in GGUF files.
    pub const ALL: [(Architecture, &'static str); 5] = [
        (Architecture::Llama, "llama"),
        (Architecture::Qwen2, "qwen2"),
        (Architecture::Qwen3, "qwen3"),
        (Architecture::Gemma3, "gemma3"),
        (Architecture::Phi3, "phi3"),
    ];

    fn from_name(name: &str) -> Result<Architecture> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(a, _)| *a).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(_, n)| *n).collect();
            ChordError::new(
                ErrorCode::UnsupportedArchitecture,
                format!("architecture '{name}' is not supported; supported are {}", known.join(", ")),
            )
            .with("architecture", name)
        })
    }
}

/// Hyperparameters that the architectures share, under the names of the GGUF specification.
#[derive(Clone, Debug)]
pub struct Config {
    pub architecture: Architecture,
    pub layers: usize,
    /// Tokens that the model was trained for.
    pub context_length: usize,
    /// Tokens that this engine keeps room for.
    pub context: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    pub feed_forward: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub key_length: usize,
    pub value_length: usize,
    pub epsilon: f32,
    /// Scale of attention scores.
    pub attention_scale: f32,
    pub experts: usize,
    pub experts_used: usize,
    /// Scale of the experts' weights after routing.
    pub expert_scale: f32,
    /// Tokens that a sliding-window layer sees.
    pub sliding_window: Option<usize>,
    /// Which layers slide.
    pub sliding: Vec<bool>,
    pub final_softcap: Option<f32>,
    pub rope: Rope,
    /// Rope of the sliding layers, where it differs.
    pub rope_sliding: Rope,
    pub vocabulary: usize,
}

/// Bounds of plausible hyperparameters: anything beyond is a broken or hostile file.
const LAYERS_MAX: usize = 1024;
const HEADS_MAX: usize = 4096;
const WIDTH_MAX: usize = 1 << 20;
const CONTEXT_MAX: usize = 1 << 24;
/// Context kept when the caller does not say: enough for a chat, and its cache is small.
pub const CONTEXT_DEFAULT: usize = 4096;

/// Metadata under the architecture's prefix.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A size between `least` and `most`; `default` when the key is absent or, as some writers do, zero.
    fn size(&self, name: &str, least: usize, most: usize, default: Option<usize>) -> Result<usize> {
        let key = self.key(name);
        let value = match self.metadata.get(&key) {
            Some(Value::Array(_)) => self.uniform(&key)?,
            _ => self.metadata.opt_u64(&key)?,
        };
        let value = match (value, default) {
            (None | Some(0), Some(default)) => default as u64,
            (None, None) => return Err(ChordError::model(format!("'{key}' is missing")).with("key", key)),
            (Some(value), _) => value,
        };
        if value < least as u64 || value > most as u64 {
            return Err(ChordError::model(format!("'{key}' is {value}, outside {least} to {most}")).with("key", key));
        }
        Ok(value as usize)
    }

    /// The value of a per-layer array whose elements are all equal.
    fn uniform(&self, key: &str) -> Result<Option<u64>> {
        let layers = self.metadata.u32(&self.key("block_count"))? as usize;
        let values = self.metadata.u32_or_array(key, layers)?;
        match values.split_first() {
            Some((first, rest)) if rest.iter().all(|v| v == first) => Ok(Some(u64::from(*first))),
            _ => Err(ChordError::new(ErrorCode::UnsupportedArchitecture, format!("'{key}' differs between layers"))),
        }
    }

    fn float(&self, name: &str, default: f32) -> Result<f32> {
        let key = self.key(name);
        let value = self.metadata.opt_f32(&key)?.unwrap_or(default);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(ChordError::model(format!("'{key}' is {value}")).with("key", key))
        }
    }
}

impl Config {
    /// Reads and checks the configuration. `context` is the caller's choice of context length.
    pub fn from_header(header: &Header, context: Option<usize>) -> Result<Config> {
        let metadata = &header.metadata;
        let name = metadata.str("general.architecture")?;
        let architecture = Architecture::from_name(name)?;
        let keys = Keys { metadata, prefix: name };
        let layers = keys.size("block_count", 1, LAYERS_MAX, None)?;
        let embedding = keys.size("embedding_length", 1, WIDTH_MAX, None)?;
        let heads = keys.size("attention.head_count", 1, HEADS_MAX, None)?;
        let kv_heads = keys.size("attention.head_count_kv", 1, HEADS_MAX, Some(heads))?;
        if heads % kv_heads != 0 {
            return Err(ChordError::model(format!("{heads} heads cannot share {kv_heads} key-value heads")));
        }
        let key_length = keys.size("attention.key_length", 2, WIDTH_MAX, Some((embedding / heads).max(2)))?;
        let value_length = keys.size("attention.value_length", 1, WIDTH_MAX, Some((embedding / heads).max(1)))?;
        let context_length = keys.size("context_length", 1, CONTEXT_MAX, None)?;
        let context = context.unwrap_or(context_length.min(CONTEXT_DEFAULT));
        if context == 0 || context > CONTEXT_MAX {
            return Err(ChordError::parameter(
                "contextLength",
                format!("contextLength {context} is outside 1 to {CONTEXT_MAX}"),
            ));
        }
        let experts = keys.size("expert_count", 0, 1024, Some(0))?;
        let experts_used = keys.size("expert_used_count", 0, experts, Some(0))?;
        if experts > 0 && experts_used == 0 {
            return Err(ChordError::model("a model with experts must use at least one"));
        }
        let expert_scale = keys.float("expert_weights_scale", 0.0)?;
        let softcap = keys.float("final_logit_softcapping", 0.0)?;
        let scale = keys.float("attention.scale", 0.0)?;
        let window = keys.size("attention.sliding_window", 0, CONTEXT_MAX, Some(0))?;
        let rope = rope(&keys, architecture, key_length, context_length)?;
        let mut config = Config {
            architecture,
            layers,
            context_length,
            context,
            embedding,
            feed_forward: keys.size("feed_forward_length", 1, WIDTH_MAX, None)?,
            heads,
            kv_heads,
            key_length,
            value_length,
            epsilon: keys.float("attention.layer_norm_rms_epsilon", 1e-5)?,
            attention_scale: if scale == 0.0 { 1.0 / (key_length as f32).sqrt() } else { scale },
            experts,
            experts_used,
            expert_scale: if expert_scale == 0.0 { 1.0 } else { expert_scale },
            sliding_window: None,
            sliding: vec![false; layers],
            final_softcap: None,
            rope_sliding: rope.clone(),
            rope,
            vocabulary: vocabulary(header)?,
        };
        if architecture == Architecture::Gemma3 {
            config.gemma3(&keys, window, softcap)?;
        }
        Ok(config)
    }

    /// Gemma 3: five of six layers slide over a window, with a rope base of their own and no scaling.
    fn gemma3(&mut self, keys: &Keys, window: usize, softcap: f32) -> Result<()> {
        self.final_softcap = (softcap != 0.0).then_some(softcap);
        if self.layers == 62 {
            // The 27B model scales by the width per head of the residual stream instead of the head's.
            self.attention_scale = 1.0 / ((self.embedding / self.heads) as f32).sqrt();
        }
        if window == 0 {
            return Ok(());
        }
        self.sliding_window = Some(window);
        self.rope_sliding.base = keys.float("rope.freq_base_swa", 10_000.0)?;
        self.rope_sliding.frequency_scale = 1.0;
        let key = keys.key("attention.sliding_window_pattern");
        self.sliding = match keys.metadata.get(&key) {
            Some(Value::Array(_)) => keys.metadata.opt_bool_or_array(&key, self.layers)?.unwrap_or_default(),
            _ => {
                let period = keys.size("attention.sliding_window_pattern", 1, LAYERS_MAX, Some(6))?;
                (0..self.layers).map(|layer| layer % period < period - 1).collect()
            }
        };
        Ok(())
    }
}

/// Rows of the embedding table.
fn vocabulary(header: &Header) -> Result<usize> {
    let table = header.tensors.iter().find(|t| t.name == "token_embd.weight");
    let table = table.ok_or_else(|| ChordError::model("tensor 'token_embd.weight' is missing"))?;
    let rows = table.dimensions.get(1).copied().unwrap_or(1);
    usize::try_from(rows)
        .ok()
        .filter(|v| *v <= 1 << 24)
        .ok_or_else(|| ChordError::model(format!("a vocabulary of {rows} tokens is too large")))
}

/// The rotation that metadata describes, with the defaults of llama.cpp.
fn rope(keys: &Keys, architecture: Architecture, key_length: usize, context_length: usize) -> Result<Rope> {
    let dims = keys.size("rope.dimension_count", 2, key_length, Some(key_length))?;
    if dims % 2 != 0 {
        return Err(ChordError::model(format!("'{}' is odd", keys.key("rope.dimension_count"))));
    }
    let kind = keys.metadata.opt_str(&keys.key("rope.scaling.type"))?.unwrap_or("linear");
    let legacy = keys.float("rope.scale_linear", 0.0)?;
    let factor = match (kind, keys.float("rope.scaling.factor", legacy)?) {
        ("none" | "longrope", _) | (_, 0.0) => 1.0,
        (_, factor) if factor > 0.0 => factor,
        (_, factor) => return Err(ChordError::model(format!("rope scaling factor {factor} is negative"))),
    };
    let declared = keys.float("rope.scaling.yarn_ext_factor", -1.0)?;
    let extrapolation = if declared >= 0.0 { declared } else { f32::from(kind == "yarn") };
    let base = keys.float("rope.freq_base", 10_000.0)?;
    if base <= 0.0 {
        return Err(ChordError::model(format!("rope base {base} is not positive")));
    }
    let original = keys.size("rope.scaling.original_context_length", 1, CONTEXT_MAX, Some(context_length))?;
    Ok(Rope {
        dims,
        style: match architecture {
            Architecture::Llama => RopeStyle::Interleaved,
            Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Gemma3 | Architecture::Phi3 => RopeStyle::Halves,
        },
        base,
        frequency_scale: 1.0 / factor,
        extrapolation,
        attention_factor: match keys.float("rope.scaling.attn_factor", 1.0)? {
            0.0 => 1.0,
            value => value,
        },
        beta_fast: keys.float("rope.scaling.yarn_beta_fast", 32.0)?,
        beta_slow: keys.float("rope.scaling.yarn_beta_slow", 1.0)?,
        original_context: original as f32,
        factors: None,
    })
}
