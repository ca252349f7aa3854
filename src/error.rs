//! The one error type of the crate. Its codes are part of the public interface: they cross to
//! JavaScript unchanged as `ChordError.code`.

use serde::Serialize;

/// Stable codes of `ChordError`. The name of a variant is the string that JavaScript sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ErrorCode {
    /// The bytes are not a well-formed GGUF file.
    InvalidGguf,
    /// A GGUF version or byte order that is not supported.
    UnsupportedGguf,
    /// `general.architecture` names an architecture that is not supported.
    UnsupportedArchitecture,
    /// A tensor has a type that is not supported.
    UnsupportedTensorType,
    /// Metadata or tensors contradict each other or the architecture.
    InvalidModel,
    /// A saved sequence is damaged, or was computed by another model or build; `details.reason` says which.
    InvalidState,
    /// What is kept on disk could not be read.
    StoreFailed,
    /// The weights produce NaN or infinity.
    NonFinite,
    /// A request or option has a value that is not allowed; `details.name` says which.
    InvalidParameter,
    /// The prompt does not fit the context; `details` has `need` and `have`.
    ContextOverflow,
    /// The chat template fails, loops, or raises an exception.
    TemplateFailed,
    /// Memory could not be allocated; `details.bytes` says how much was asked for.
    OutOfMemory,
    /// `maxResidentBytes` cannot work; `details` has `need` and `have`.
    BudgetTooSmall,
    /// The GPU cannot run this model, and the CPU can.
    GpuUnsuited,
    /// The GPU was lost.
    DeviceLost,
    /// The call was cancelled.
    Aborted,
    /// A defect of this package: an assertion failed.
    Internal,
}

/// Any failure that a caller can meet.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ChordError {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong, for people.
    pub message: String,
    /// Facts about the failure, under stable names (boxed: errors are rare and should be small).
    pub details: Box<serde_json::Map<String, serde_json::Value>>,
}

/// The result type of the crate.
pub type Result<T> = std::result::Result<T, ChordError>;

impl ChordError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ChordError { code, message: message.into(), details: Box::default() }
    }

    /// Adds a fact.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// A malformed GGUF file.
    pub fn gguf(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidGguf, message)
    }

    /// A model whose parts contradict each other.
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidModel, message)
    }

    /// A defect of this package.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// A request value that is not allowed.
    pub fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameter, message).with("name", name)
    }
}
