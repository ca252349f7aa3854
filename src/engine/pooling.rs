//! How the hidden states of a text become its embedding.

use super::forward::Output;
use crate::error::{ChordError, ErrorCode, Result};
use crate::gguf::Metadata;

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
