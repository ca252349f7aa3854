//! The configuration of a model, read from metadata and checked.

use super::blocks::Latent;
use super::keys::Keys;
use super::registry::{Architecture, architecture};
use super::shape::{Experts, LayerShape, Mixer, Recurrence};
use crate::error::{ChordError, ErrorCode, Result};
use crate::gguf::{Header, Value};
use crate::program::{Mask, Norm, Rope, RopeStyle, Scores};

/// What holds for a model as a whole, and the shape of each of its layers.
#[derive(Clone)]
pub struct Config {
    /// Its row of the registry.
    pub architecture: &'static Architecture,
    /// From the first layer on.
    pub layers: Vec<LayerShape>,
    /// Tokens that the model was trained for.
    pub context_length: usize,
    /// Tokens that this engine keeps room for.
    pub context: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    /// How its rows are normalised.
    pub norm: Norm,
    /// Added to the mean square or the variance in every norm.
    pub epsilon: f32,
    /// Factor of the embedding.
    pub embedding_scale: f32,
    /// Factor of what a block adds to the residual stream.
    pub residual_scale: f32,
    /// Factor of what attention makes, where an architecture has one.
    pub value_scale: f32,
    /// Factor of the logits.
    pub logit_scale: f32,
    /// c: logits x become c · tanh(x / c).
    pub final_softcap: Option<f32>,
    /// Whether attention and feed-forward stand side by side, where files differ in that.
    pub is_parallel: bool,
    /// Whether a bias of the logits is used, where a file has one.
    pub has_output_bias: bool,
    /// After every so many layers the residual stream is halved; never where it is 0.
    pub rescale_every: usize,
    /// Streams of the model's width that pass from layer to layer side by side; of most models one.
    pub streams: usize,
    /// Width of what each layer has of a token beside the residual stream.
    pub per_layer: usize,
    /// The name of the last norm.
    pub output_norm: &'static str,
    /// Whether tokens attend to those after them: then a text is computed as a whole.
    pub looks_ahead: bool,
    /// Whether it makes logits all the same, because it writes by filling in a text as a whole.
    pub fills_in: bool,
    /// Whether it ranks texts by scores.
    pub ranks: bool,
    /// Whether norms have no weights.
    pub bare_norms: bool,
    /// Whether gates are by SiLU, where files differ in that.
    pub uses_silu: bool,
    /// Of models with a state that holds the whole past.
    pub recurrence: Recurrence,
    /// Of models with latent attention.
    pub latent: Latent,
    /// Rows of the embedding's table.
    pub vocabulary: usize,
}

/// Bounds of plausible hyperparameters: anything beyond is a broken or hostile file.
pub const LAYERS_MAX: usize = 1024;
const HEADS_MAX: usize = 4096;
pub const WIDTH_MAX: usize = 1 << 20;
const CONTEXT_MAX: usize = 1 << 24;
const EXPERTS_MAX: usize = 1024;
pub const KERNEL_MAX: usize = 64;
pub const STATE_MAX: usize = 1 << 12;
/// The table that has a row for each position, where positions are learned.
pub const POSITIONS: &str = "position_embd.weight";
/// Context kept when the caller does not say: enough for a chat, and its cache is small.
pub const CONTEXT_DEFAULT: usize = 4096;

impl Config {
    /// Reads and checks the configuration. `context` is the caller's choice of context length.
    pub fn from_header(header: &Header, context: Option<usize>) -> Result<Config> {
        let metadata = &header.metadata;
        let name = metadata.str("general.architecture")?;
        let architecture = architecture(name)?;
        let keys = Keys { metadata, prefix: name };
        // The last layers may be there to guess more than one token, which nothing here does.
        let guessing = keys.size("nextn_predict_layers", 0, LAYERS_MAX, Some(0))?;
        let layers = keys.size("block_count", 1 + guessing, LAYERS_MAX, None)? - guessing;
        let embedding = keys.size("embedding_length", 1, WIDTH_MAX, None)?;
        let context_length = keys.size("context_length", 1, CONTEXT_MAX, None)?;
        let context = context.unwrap_or(context_length.min(CONTEXT_DEFAULT));
        if context == 0 || context > CONTEXT_MAX {
            return Err(ChordError::parameter(
                "contextLength",
                format!("contextLength {context} is outside 1 to {CONTEXT_MAX}"),
            ));
        }
        // A table of positions ends where the training did; without one a model goes on, if worse.
        let context = match header.tensor(POSITIONS) {
            Some(_) => context.min(context_length),
            None => context,
        };
        let mut config = Config {
            architecture,
            layers: shapes(&keys, architecture.rope, layers, embedding, context_length)?,
            context_length,
            context,
            embedding,
            norm: architecture.norm,
            epsilon: keys.float(epsilon_key(architecture.norm), 1e-5)?,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            value_scale: 1.0,
            logit_scale: 1.0,
            final_softcap: None,
            is_parallel: false,
            has_output_bias: true,
            rescale_every: 0,
            streams: 1,
            per_layer: 0,
            output_norm: "output_norm",
            looks_ahead: false,
            fills_in: false,
            ranks: ranks(header, &keys)?,
            bare_norms: false,
            uses_silu: false,
            recurrence: Recurrence::default(),
            latent: Latent::default(),
            vocabulary: vocabulary(header)?,
        };
        (architecture.configure)(&mut config, &keys)?;
        Ok(config)
    }

    /// Lets layers see half of the file's window to either side, if it has one, of every `period` those that `slide` says.
    pub fn slide_both_ways(
        &mut self,
        keys: &Keys,
        slide: fn(&mut Config, &Keys, usize, Mask) -> Result<()>,
        period: usize,
    ) -> Result<()> {
        match keys.size("attention.sliding_window", 0, CONTEXT_MAX, Some(0))? {
            0 => Ok(()),
            window => slide(self, keys, period, Mask::Around(window / 2)),
        }
    }

    /// Lets every token attend to all of its text. A text is not longer than what the model was trained for, which a
    /// table of positions ends at.
    pub fn look_ahead(&mut self) {
        self.looks_ahead = true;
        self.context = self.context.min(self.context_length);
        self.layers.iter_mut().for_each(|shape| shape.mask = Mask::Full);
    }

    /// The same of a model that fills texts in.
    pub fn fill_in(&mut self) {
        self.look_ahead();
        self.fills_in = true;
    }

    /// Norms are by the root of the mean square where the file has what is added to that.
    pub fn norm_by_file(&mut self, keys: &Keys) -> Result<()> {
        if let Some(epsilon) = keys.nonzero(epsilon_key(Norm::Rms))? {
            (self.norm, self.epsilon) = (Norm::Rms, epsilon);
        }
        Ok(())
    }

    /// Queries are tempered by their position from `length` on, which nothing here does: the context has to end before.
    pub fn end_before_tempering(&self, length: usize) -> Result<()> {
        if self.context <= length {
            return Ok(());
        }
        let name = self.architecture.name;
        let text = format!("{name} beyond {length} tokens, where queries are tempered, is not supported");
        Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text).with("architecture", name))
    }

    /// The same with what the file says of it, if it does.
    pub fn end_where_tempered(&self, keys: &Keys) -> Result<()> {
        if keys.nonzero("attention.temperature_scale")?.is_none() {
            return Ok(());
        }
        let original = keys.size("rope.scaling.original_context_length", 1, CONTEXT_MAX, Some(self.context_length))?;
        self.end_before_tempering(keys.size("attention.temperature_length", 1, CONTEXT_MAX, Some(original))?)
    }

    /// Lets layers slide over the file's window, if it has one: those that its pattern names, or where it has
    /// none, all but the last of every `period`.
    pub fn slide(&mut self, keys: &Keys, period: usize) -> Result<()> {
        match keys.size("attention.sliding_window", 0, CONTEXT_MAX, Some(0))? {
            0 => Ok(()),
            window => self.slide_by(keys, period, Mask::Window(window)),
        }
    }

    /// The same with a mask that is known.
    pub fn slide_by(&mut self, keys: &Keys, period: usize, mask: Mask) -> Result<()> {
        self.slide_where(keys, period, mask, |at, period| at < period - 1)
    }

    /// The same for all but the first of every `period`.
    pub fn slide_but_first(&mut self, keys: &Keys, period: usize, mask: Mask) -> Result<()> {
        self.slide_where(keys, period, mask, |at, _| at > 0)
    }

    fn slide_where(&mut self, keys: &Keys, period: usize, mask: Mask, is: fn(usize, usize) -> bool) -> Result<()> {
        let pattern = keys.key("attention.sliding_window_pattern");
        let slides = match keys.metadata.get(&pattern) {
            Some(Value::Array(_)) => keys.metadata.opt_bool_or_array(&pattern, self.layers.len())?.unwrap_or_default(),
            _ => {
                let period = keys.size("attention.sliding_window_pattern", 1, LAYERS_MAX, Some(period))?;
                (0..self.layers.len()).map(|layer| is(layer % period, period)).collect()
            }
        };
        for (shape, _) in self.layers.iter_mut().zip(slides).filter(|(_, slides)| *slides) {
            shape.mask = mask;
        }
        Ok(())
    }

    /// Reads the heads' widths and the rotation of layers that slide, where they are others.
    pub fn read_sliding_heads(&mut self, keys: &Keys) -> Result<()> {
        for shape in self.sliding() {
            shape.key_length = keys.size("attention.key_length_swa", 2, WIDTH_MAX, Some(shape.key_length))?;
            shape.value_length = keys.size("attention.value_length_swa", 1, WIDTH_MAX, Some(shape.value_length))?;
            let Some(rope) = &mut shape.rope else { continue };
            rope.dims = keys.size("rope.dimension_count_swa", 2, shape.key_length, Some(shape.key_length))?;
            rope.base = keys.float("rope.freq_base_swa", rope.base)?;
            if rope.dims % 2 != 0 || rope.base <= 0.0 {
                return Err(ChordError::model(format!("{} values cannot rotate by {}", rope.dims, rope.base)));
            }
        }
        Ok(())
    }

    /// The last layers have no keys and values of their own, as many as the file says, or so many `usually`: they attend to those of the
    /// last layer of their kind that has.
    pub fn share_caches(&mut self, keys: &Keys, usually: usize) -> Result<()> {
        let count = keys.size("attention.shared_kv_layers", 0, self.layers.len() - 1, Some(usually))?;
        let own = self.layers.len() - count;
        for layer in own..self.layers.len() {
            let mask = self.layers[layer].mask;
            let of = (0..own).rev().find(|other| self.layers[*other].mask == mask);
            let of = of.ok_or_else(|| ChordError::model(format!("layer {layer} finds no keys that it could share")))?;
            let (shape, other) = (&self.layers[layer], &self.layers[of]);
            if (shape.kv_heads, shape.key_length) != (other.kv_heads, other.key_length) {
                return Err(ChordError::model(format!("layer {layer} cannot share the keys of layer {of}")));
            }
            self.layers[layer].shares = Some(of);
        }
        Ok(())
    }

    /// The layers that slide.
    pub fn sliding(&mut self) -> impl Iterator<Item = &mut LayerShape> {
        self.layers.iter_mut().filter(|shape| matches!(shape.mask, Mask::Window(_) | Mask::Around(_)))
    }

    /// Leaves the first layers without experts, as many as the file says.
    pub fn lead_dense(&mut self, keys: &Keys) -> Result<()> {
        let count = keys.size("leading_dense_block_count", 0, LAYERS_MAX, Some(0))?;
        self.layers.iter_mut().take(count).for_each(|shape| shape.experts = None);
        Ok(())
    }

    /// Experts that every token uses are as wide as the feed-forward of a layer without experts, where the file does
    /// not say how wide.
    pub fn share_by_width(&mut self) {
        for shape in &mut self.layers {
            let width = shape.feed_forward;
            for experts in shape.experts.iter_mut().filter(|experts| experts.shared_feed_forward == 0) {
                experts.shared_feed_forward = width;
            }
        }
    }

    /// Experts that every token uses are as wide as so many of the others, where the file does not say how wide.
    pub fn share_by_count(&mut self, keys: &Keys) -> Result<()> {
        let count = keys.size("expert_shared_count", 0, EXPERTS_MAX, Some(0))?;
        for experts in self.experts().filter(|experts| experts.shared_feed_forward == 0) {
            experts.shared_feed_forward = count * experts.feed_forward;
        }
        Ok(())
    }

    /// Reads how experts are chosen and weighed; `gating` is the file format's number for what scores are where
    /// the file does not say.
    pub fn read_routing(&mut self, keys: &Keys, gating: usize) -> Result<()> {
        let scores = match keys.size("expert_gating_func", 1, 3, Some(gating))? {
            1 => Scores::Softmax,
            2 => Scores::Sigmoid,
            _ => Scores::SoftmaxOfChosen,
        };
        let normalise = keys.flag("expert_weights_norm", false)?;
        let groups = keys.size("expert_group_count", 0, EXPERTS_MAX, Some(0))?;
        if groups > 1 {
            let text = format!("{} with experts in {groups} groups is not supported", self.architecture.name);
            return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
        }
        self.experts().for_each(|experts| (experts.scores, experts.normalise) = (scores, normalise));
        Ok(())
    }

    /// Layers without key-value heads are recurrent.
    pub fn recur_without_heads(&mut self, keys: &Keys) -> Result<()> {
        let heads = keys.sizes("attention.head_count_kv", self.layers.len(), 0, HEADS_MAX, Some(0))?;
        for (shape, heads) in self.layers.iter_mut().zip(heads) {
            shape.mixer = if heads == 0 { Mixer::Recurrent } else { Mixer::Attention };
        }
        Ok(())
    }

    /// Layers are recurrent that the file names, or where it names none, all but the last of every so many.
    pub fn recur_between(&mut self, keys: &Keys) -> Result<()> {
        let period = keys.size("full_attention_interval", 1, LAYERS_MAX, Some(4))?;
        let named = keys.metadata.opt_bool_or_array(&keys.key("attention.recurrent_layers"), self.layers.len())?;
        for (layer, shape) in self.layers.iter_mut().enumerate() {
            let recurs = named.as_ref().map_or(layer % period < period - 1, |named| named[layer]);
            shape.mixer = if recurs { Mixer::Recurrent } else { Mixer::Attention };
        }
        Ok(())
    }

    /// Reads what the state of recurrent layers is like.
    pub fn read_recurrence(&mut self, keys: &Keys) -> Result<()> {
        self.recurrence = Recurrence {
            kernel: keys.size("ssm.conv_kernel", 2, KERNEL_MAX, None)?,
            inner: keys.size("ssm.inner_size", 1, WIDTH_MAX, None)?,
            state: keys.size("ssm.state_size", 1, STATE_MAX, None)?,
            heads: keys.size("ssm.time_step_rank", 1, WIDTH_MAX, None)?,
            groups: keys.size("ssm.group_count", 1, HEADS_MAX, Some(1))?,
            normalises: false,
        };
        Ok(())
    }

    /// Reads the widths of latent attention. Where the file has none of their own, they are those of all heads.
    pub fn read_latent(&mut self, keys: &Keys) -> Result<()> {
        let attends = self.layers.iter().find(|shape| shape.heads > 0);
        let (key, value) = attends.map_or((2, 1), |shape| (shape.key_length, shape.value_length));
        let key = keys.size("attention.key_length_mla", 2, WIDTH_MAX, Some(key))?;
        let rotated = keys.size("rope.dimension_count", 2, WIDTH_MAX, None)?;
        if rotated > key {
            return Err(ChordError::model(format!("{rotated} of a query's {key} values cannot rotate")));
        }
        self.latent = Latent {
            rank: keys.size("attention.kv_lora_rank", 1, WIDTH_MAX, None)?,
            key,
            rotated,
            value: keys.size("attention.value_length_mla", 1, WIDTH_MAX, Some(value))?,
        };
        let scale = 1.0 / (key as f32).sqrt();
        self.layers.iter_mut().for_each(|shape| shape.attention_scale = scale);
        Ok(())
    }

    /// The mixtures of experts.
    pub fn experts(&mut self) -> impl Iterator<Item = &mut Experts> {
        self.layers.iter_mut().filter_map(|shape| shape.experts.as_mut())
    }
}

/// The key of what is added in norms.
fn epsilon_key(norm: Norm) -> &'static str {
    match norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer | Norm::Excess => "attention.layer_norm_epsilon",
    }
}

/// The layers' shapes, as far as all architectures read them alike.
fn shapes(
    keys: &Keys,
    style: RopeStyle,
    layers: usize,
    embedding: usize,
    context_length: usize,
) -> Result<Vec<LayerShape>> {
    // Layers without attention may have no heads, and those without a feed-forward no width of it.
    let heads = keys.sizes("attention.head_count", layers, 0, HEADS_MAX, None)?;
    // Zero stands for as many as there are query heads.
    let kv_heads = keys.sizes("attention.head_count_kv", layers, 0, HEADS_MAX, Some(0))?;
    let feed_forward = keys.sizes("feed_forward_length", layers, 0, WIDTH_MAX, None)?;
    let widest = feed_forward.iter().copied().max().unwrap_or(0);
    let experts = experts(keys, widest)?;
    let scale = keys.nonzero("attention.scale")?;
    let shape = |layer: usize| -> Result<LayerShape> {
        let heads = heads[layer];
        let kv_heads = if kv_heads[layer] == 0 { heads } else { kv_heads[layer] };
        if heads > 0 && !heads.is_multiple_of(kv_heads) {
            return Err(ChordError::model(format!("{heads} heads cannot share {kv_heads} key-value heads")));
        }
        let width = embedding / heads.max(1);
        let key_length = keys.size("attention.key_length", 2, WIDTH_MAX, Some(width.max(2)))?;
        Ok(LayerShape {
            mixer: Mixer::Attention,
            heads,
            kv_heads,
            key_length,
            value_length: keys.size("attention.value_length", 1, WIDTH_MAX, Some(width.max(1)))?,
            attention_scale: scale.unwrap_or(1.0 / (key_length as f32).sqrt()),
            mask: Mask::Causal,
            softcap: None,
            alibi: None,
            clamp: None,
            has_rope_factors: true,
            shares: None,
            rope: if heads > 0 { Some(rope(keys, style, key_length, context_length)?) } else { None },
            feed_forward: feed_forward[layer],
            xielu: [0.0; 3],
            excess: None,
            experts: experts.clone(),
        })
    };
    (0..layers).map(shape).collect()
}

/// The mixture of experts, if the model has one.
fn experts(keys: &Keys, feed_forward: usize) -> Result<Option<Experts>> {
    let count = keys.size("expert_count", 0, EXPERTS_MAX, Some(0))?;
    let used = keys.size("expert_used_count", 0, count, Some(0))?;
    if count == 0 {
        return Ok(None);
    }
    if used == 0 {
        return Err(ChordError::model("a model with experts must use at least one"));
    }
    Ok(Some(Experts {
        count,
        used,
        feed_forward: keys.size("expert_feed_forward_length", 1, WIDTH_MAX, Some(feed_forward))?,
        shared_feed_forward: keys.size("expert_shared_feed_forward_length", 0, WIDTH_MAX, Some(0))?,
        scores: Scores::Softmax,
        normalise: true,
        scale: keys.nonzero("expert_weights_scale")?.unwrap_or(1.0),
    }))
}

/// Whether the file says that texts are ranked, and has what that is done by.
fn ranks(header: &Header, keys: &Keys) -> Result<bool> {
    let has_scores = header.tensors.iter().any(|t| ["cls.weight", "cls.output.weight"].contains(&t.name.as_str()));
    Ok(has_scores && keys.metadata.opt_u64(&keys.key("pooling_type"))? == Some(4))
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
fn rope(keys: &Keys, style: RopeStyle, key_length: usize, context_length: usize) -> Result<Rope> {
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
        style,
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
