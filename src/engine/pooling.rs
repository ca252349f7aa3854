//! How the hidden states of a text become its embedding, or its score.

use super::forward::Output;
use crate::error::{ChordError, ErrorCode, Result};
use crate::gguf::Metadata;
use crate::model::Config;

/// Which hidden states count, by `pooling_type` of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, also where the file does not say.
    Mean,
    /// The first token's.
    First,
    /// The last token's.
    Last,
}

impl Pooling {
    /// What the file says. An error is one that only embeddings meet.
    pub fn from_metadata(metadata: &Metadata) -> Result<Pooling> {
        let key = format!("{}.pooling_type", metadata.str("general.architecture")?);
        match metadata.opt_u64(&key)? {
            // 0: the file has no opinion.
            None | Some(0 | 1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::First),
            Some(3) => Ok(Pooling::Last),
            Some(4) => {
                let text = "this model ranks texts against one another, and makes no embeddings";
                Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text))
            }
            Some(other) => Err(ChordError::model(format!("'{key}' is {other}, outside 0 to 4")).with("key", key)),
        }
    }

    /// The rows whose hidden states it takes.
    pub fn output(self) -> Output {
        match self {
            Pooling::Mean => Output::Every,
            Pooling::First => Output::First,
            Pooling::Last => Output::Last,
        }
    }
}

/// How the hidden states of a query and a document become a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// The first token's, by a classifier.
    First,
    /// The last token's, by the share of yes of a softmax.
    Softmax,
}

impl Ranking {
    /// What the file has of it. An error is one that only rankings meet.
    pub fn new(config: &Config) -> Result<Ranking> {
        match (config.ranks, config.looks_ahead) {
            (true, true) => Ok(Ranking::First),
            (true, false) => Ok(Ranking::Softmax),
            (false, _) => {
                let text = "this model does not rank texts: it has no classifier, or its file does not say so";
                Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text))
            }
        }
    }

    /// The row whose hidden state it takes.
    pub fn output(self) -> Output {
        match self {
            Ranking::First => Output::First,
            Ranking::Softmax => Output::Last,
        }
    }

    /// The score that a classifier's values stand for.
    pub fn score(self, values: &[f32]) -> f32 {
        let first = values.first().copied().unwrap_or(0.0);
        match self {
            Ranking::First => first,
            Ranking::Softmax => 1.0 / values.iter().map(|value| (value - first).exp()).sum::<f32>(),
        }
    }
}

/// Their direction: the sum scaled to length 1.
pub fn normalised(sum: &[f32]) -> Vec<f32> {
    let length = sum.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { (1.0 / length) as f32 } else { 0.0 };
    sum.iter().map(|v| v * scale).collect()
}
