//! What a file's header says, made ready for use: it never changes while a model is open.

use super::adapters::Adapters;
use super::pooling::{Pooling, Ranking};
use super::sequence::{SEED, fold};
use crate::error::{ChordError, ErrorCode, Result};
use crate::model::Config;
use crate::program::{KvFormat, Program};
use crate::state::Layout;
use crate::template::{ChatTemplates, ControlTexts};
use crate::tokenizer::Tokenizer;

/// A model without its weights.
pub struct Opened {
    pub config: Config,
    pub program: Program,
    /// Where the state of a sequence lies.
    pub layout: Layout,
    pub tokenizer: Tokenizer,
    /// What else it was opened with.
    pub adapters: Adapters,
    /// The file's chat templates.
    pub template: ChatTemplates,
    /// How embeddings are made; an error if they cannot be, which only they meet.
    pub pooling: Result<Pooling>,
    /// How texts are ranked; an error if they cannot be, which only they meet.
    pub ranking: Result<Ranking>,
    /// Whether tokens attend to those after them: then nothing that was computed before is of use for another text.
    pub looks_ahead: bool,
    /// Requests that may run at a time where memory allows it.
    pub lanes_max: usize,
    /// Texts of control tokens, which must not come out of messages.
    pub controls: ControlTexts,
    /// What `Engine.model` shows.
    pub info: serde_json::Value,
}

impl Opened {
    /// A model that is asked to go on with a text must make logits, each from the tokens before.
    pub fn check_writes(&self) -> Result<()> {
        self.check_logits()?;
        if !self.looks_ahead {
            return Ok(());
        }
        let architecture = self.config.architecture.name;
        let text =
            format!("this model ({architecture}) writes by filling in a text as a whole, which is not supported");
        Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text).with("architecture", architecture))
    }

    /// A model that is asked for logits must make them.
    pub fn check_logits(&self) -> Result<()> {
        if self.program.makes_logits() {
            return Ok(());
        }
        let (name, does) = match self.ranking {
            Ok(_) => ("a reranker", "it ranks documents by a query"),
            Err(_) => ("an encoder", "it makes embeddings"),
        };
        let architecture = self.config.architecture.name;
        let text = format!("this model is {name} ({architecture}): {does}, and writes no text");
        Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text).with("architecture", architecture))
    }

    /// Tokens from outside must be of the vocabulary.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.program.vocabulary;
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            None => Ok(()),
            Some(bad) => {
                let text = format!("token {bad} is outside the vocabulary of {vocabulary}");
                Err(ChordError::parameter("prompt", text))
            }
        }
    }

    /// Tells this model, in this build, from others: what a sequence left behind is of no use to those. Made of
    /// the header's metadata and tensors, and of those of the adapters that had a part in it; their bytes do not count.
    pub fn fingerprint(&self, scales: &[f32]) -> u64 {
        let text = |hash: u64, text: &str| fold(hash, text.as_bytes());
        let numbers = |hash: u64, numbers: &[u64]| numbers.iter().fold(hash, |hash, n| fold(hash, &n.to_le_bytes()));
        let mut hash = text(SEED, env!("CARGO_PKG_VERSION"));
        hash = text(hash, &self.info["metadata"].to_string());
        for weight in self.program.weights.iter().filter(|weight| weight.adapter.is_none()) {
            hash = text(text(hash, &weight.name), weight.dtype.name());
            let place = [u64::from(weight.part), weight.file_offset];
            hash = numbers(hash, &[weight.rows as u64, weight.columns as u64, place[0], place[1]]);
        }
        // The length of the context that was asked for may decide how positions are rotated.
        for rope in &self.program.ropes {
            let factors = rope.factors.map_or(u64::MAX, |id| u64::from(id.0));
            let [base, scale, magnitude] = [rope.base, rope.frequency_scale, rope.attention_factor].map(f32::to_bits);
            hash = numbers(hash, &[factors, base.into(), scale.into(), magnitude.into()]);
        }
        hash = self.adapters.fold(hash, scales);
        // What was kept in one format is of no use to another; half precision adds nothing.
        self.program.kv_formats().filter(|format| *format != KvFormat::F16).fold(hash, |hash, f| text(hash, f.name()))
    }
}
