//! The one error type of the package. Its codes are part of the public interface: they cross to JavaScript
//! unchanged as `ChordError.code`, and `www/src/wire/generated.ts` is made of this list.

/// Declares the stable codes, each with whether the same call may succeed later.
macro_rules! codes {
    ($($(#[doc = $words:literal])+ $code:ident $(($retryable:ident))?,)+) => {
        /// Stable codes of `ChordError`. The name of a variant is the string that JavaScript sees. The list holds the
        /// codes that only the package's scripts throw, too, and is where those have them from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[doc = $words])+ $code,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$code),+];

            /// Whether the same call, or a new engine, may succeed later.
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(ErrorCode::$code => codes!(@ $($retryable)?),)+
                }
            }

            /// The documentation of the code.
            #[cfg(test)]
            pub(crate) const fn words(self) -> &'static str {
                match self {
                    $(ErrorCode::$code => concat!($($words),+),)+
                }
            }
        }
    };
    (@ retryable) => { true };
    (@) => { false };
}

codes! {
    // The core throws these.

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
    /// The weights produce NaN or infinity.
    NonFinite,
    /// The prompt does not fit the context; `details` has `need` and `have`.
    ContextOverflow,
    /// The chat template fails, loops, or raises an exception.
    TemplateFailed,
    /// `maxResidentBytes` cannot work; `details` has `need` and `have`.
    BudgetTooSmall,
    /// The GPU cannot run this model, and the CPU can.
    GpuUnsuited,
    /// The GPU was lost, and with it what was asked for.
    DeviceLost(retryable),

    // The core and the scripts throw these.

    /// The bytes are not a well-formed GGUF file.
    InvalidGguf,
    /// A request or option has a value that is not allowed; `details.name` says which.
    InvalidParameter,
    /// Memory could not be allocated; `details.bytes` says how much was asked for, where that is known.
    OutOfMemory(retryable),
    /// What is kept on disk could not be read or written, or is in use.
    StoreFailed(retryable),
    /// A defect of this package: an assertion failed.
    Internal,

    // Only the scripts throw these.

    /// The caller cancelled; `cause` is the signal's reason.
    Aborted,
    /// The model source cannot be used: its scheme, its name, its number of parts.
    InvalidSource,
    /// The server, the hub or the store has no such model.
    NotFound,
    /// The connection failed or broke, more often than is retried.
    Network(retryable),
    /// The server answered with a status or headers that cannot be used; `details.status`. Retryable by the status.
    Http,
    /// A server hides response headers from this page; `details.headers` names them.
    CorsHeaders,
    /// The file changed while it was read.
    SourceChanged(retryable),
    /// A server or worker did not answer in time.
    Timeout(retryable),
    /// A worker could not be started or died.
    WorkerFailed(retryable),
    /// The core trapped. The engine is lost; a new one works.
    EnginePanicked(retryable),
    /// The engine was disposed.
    Disposed,
    /// More calls wait than the queue holds.
    QueueFull(retryable),
    /// The device or build that was asked for is not available here.
    DeviceUnavailable,
    /// The browser lacks something that is required; `details.feature` says what.
    UnsupportedBrowser,
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
