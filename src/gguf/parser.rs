//! The push parser of the header: a state machine that keeps nothing but the value in progress.

use super::input::{Carry, Input, Step, Stop, Text};
use super::value::{ArrayReader, Kind};
use super::{Header, Metadata, TensorInfo, Value, layout, shown};
use crate::error::{ChordError, ErrorCode, Result};
use crate::quant::Dtype;

/// Most key-value pairs in a header. Models have fewer than 100; the bound keeps what each pair
/// costs in memory beyond its bytes in the file small.
pub const KEYS_MAX: u64 = 4096;

/// Most tensors in a file, a bound for the same reason. Models have fewer than 2,000.
pub const TENSORS_MAX: u64 = 8192;

/// Most bytes of a header. The largest vocabularies take about 30 MB.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;

/// Longest key that the specification allows, in bytes.
const KEY_BYTES_MAX: u64 = 65_535;

/// Longest tensor name that the specification allows, in bytes.
const TENSOR_NAME_BYTES_MAX: u64 = 64;

/// Bytes of the shortest key-value pair: key length, one byte of key, type, value.
const KEY_VALUE_BYTES_MIN: u64 = 8 + 1 + 4 + 1;

/// Bytes of the shortest tensor entry: name length, one byte of name, dimension count, one dimension, type, offset.
const TENSOR_BYTES_MIN: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// Most warnings about one header: what is wrong in one place is often wrong in many.
const WARNINGS_MAX: usize = 8;

/// Whether the header is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    NeedMore,
    /// The header is complete: it is the first `header_bytes` bytes of the file.
    Done {
        /// Where the header ends, before the padding to the tensors' data.
        header_bytes: u64,
    },
}

/// What comes next in the file.
#[derive(Clone, Copy, Debug)]
enum State {
    Magic,
    Version,
    TensorCount,
    KeyCount,
    Key,
    ValueType,
    Value(Kind),
    ElementType,
    ArrayLength(Kind),
    Elements,
    TensorName,
    DimensionCount,
    /// How many dimensions are missing.
    Dimension(u32),
    TensorType,
    TensorOffset,
    Done,
}

/// Parses a header out of bytes that arrive in pieces of any size, in time linear in their number
/// and in memory of at most 4 times their number and 1 MiB.
///
/// ```
/// # use wasm_chord::gguf::{Parser, Progress};
/// let mut parser = Parser::new(None);
/// assert_eq!(parser.feed(b"GG").unwrap(), Progress::NeedMore);
/// assert!(parser.feed(b"ML").is_err());
/// ```
pub struct Parser {
    file_bytes: Option<u64>,
    position: u64,
    carry: Carry,
    state: State,
    failed: Option<ChordError>,
    version: u32,
    keys_left: u64,
    tensors_declared: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    text: Text,
    key: String,
    array: Option<ArrayReader>,
    tensor: TensorInfo,
    warnings: Vec<String>,
}

impl Parser {
    /// A parser for a file of `file_bytes` bytes; `None` if its size is not known, which leaves the
    /// ends of the tensors unchecked.
    pub fn new(file_bytes: Option<u64>) -> Parser {
        Parser {
            file_bytes,
            position: 0,
            carry: Carry::default(),
            state: State::Magic,
            failed: None,
            version: 0,
            keys_left: 0,
            tensors_declared: 0,
            metadata: Metadata::default(),
            tensors: Vec::new(),
            text: Text::default(),
            key: String::new(),
            array: None,
            tensor: empty_tensor(),
            warnings: Vec::new(),
        }
    }

    /// Takes the bytes of the file that follow those fed before. Once the header is complete, what
    /// follows it is ignored. `InvalidGguf`, `UnsupportedGguf`, `UnsupportedTensorType` or
    /// `InvalidModel` if the file cannot be used; every later call then gives the same error.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let limit = self.file_bytes.unwrap_or(u64::MAX).min(HEADER_BYTES_MAX);
        let mut input = Input { bytes, carry: self.carry, position: self.position, limit };
        let outcome = self.advance(&mut input);
        self.carry = input.carry;
        self.position = input.position;
        match outcome {
            Ok(()) => Ok(Progress::Done { header_bytes: self.position }),
            Err(Stop::NeedMore) => Ok(Progress::NeedMore),
            Err(Stop::Failed(error)) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The header. `InvalidGguf` if it is not complete.
    pub fn finish(self) -> Result<Header> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Done => Ok(Header {
                version: self.version,
                metadata: self.metadata,
                tensors: self.tensors,
                warnings: self.warnings,
            }),
            _ => Err(self.truncated()),
        }
    }

    /// The error for a file that ends here, before its header does.
    pub fn truncated(&self) -> ChordError {
        let bytes = self.position + self.carry.len() as u64;
        let place = match self.state {
            State::Magic | State::Version | State::TensorCount | State::KeyCount => "its first 24 bytes".to_string(),
            State::Key => format!("the metadata, with {} keys left", self.keys_left),
            State::ValueType | State::Value(_) | State::ElementType | State::ArrayLength(_) | State::Elements => {
                format!("the value of key '{}'", shown(&self.key))
            }
            _ => format!("the entry of tensor {} of {}", self.tensors.len() + 1, self.tensors_declared),
        };
        ChordError::gguf(format!("the file is cut off after {bytes} bytes, in {place}")).with("bytes", bytes)
    }

    /// Goes from state to state until the header is complete.
    fn advance(&mut self, input: &mut Input) -> Step<()> {
        loop {
            self.state = match self.state {
                State::Done => return Ok(()),
                State::Magic | State::Version | State::TensorCount | State::KeyCount => self.preamble(input)?,
                State::Key
                | State::ValueType
                | State::Value(_)
                | State::ElementType
                | State::ArrayLength(_)
                | State::Elements => self.key_value(input)?,
                State::TensorName
                | State::DimensionCount
                | State::Dimension(_)
                | State::TensorType
                | State::TensorOffset => self.tensor_entry(input)?,
            };
            if matches!(self.state, State::Done) {
                let (tensors, metadata) = (&mut self.tensors, &self.metadata);
                layout::place(tensors, metadata, input.position, self.file_bytes)?;
            }
        }
    }

    /// One step through magic, version and counts.
    fn preamble(&mut self, input: &mut Input) -> Step<State> {
        Ok(match self.state {
            State::Magic => {
                check_magic(input.take()?, input.bytes)?;
                State::Version
            }
            State::Version => {
                self.version = check_version(input.u32()?)?;
                State::TensorCount
            }
            State::TensorCount => {
                self.tensors_declared = input.u64()?;
                State::KeyCount
            }
            _ => {
                self.keys_left = input.u64()?;
                self.check_counts(input)?;
                self.after_value()
            }
        })
    }

    /// Refuses counts that the rest of the file cannot hold or that no model has.
    fn check_counts(&self, input: &Input) -> Result<()> {
        let (keys, tensors) = (self.keys_left, self.tensors_declared);
        let key_bytes = keys.checked_mul(KEY_VALUE_BYTES_MIN);
        let tensor_bytes = tensors.checked_mul(TENSOR_BYTES_MIN);
        let bytes = key_bytes.zip(tensor_bytes).and_then(|(keys, tensors)| keys.checked_add(tensors));
        input.check_fits(bytes, format_args!("a header of {keys} keys and {tensors} tensors"))?;
        for (what, count, max) in [("keys", keys, KEYS_MAX), ("tensors", tensors, TENSORS_MAX)] {
            if count > max {
                let message = format!("the header declares {count} {what}; at most {max} are supported");
                return Err(ChordError::gguf(message).with("need", count).with("have", max));
            }
        }
        Ok(())
    }

    /// The state after a value, or after the counts.
    fn after_value(&self) -> State {
        if self.keys_left > 0 { State::Key } else { self.after_tensor() }
    }

    /// The state after a tensor's entry, or after the last value.
    fn after_tensor(&self) -> State {
        if (self.tensors.len() as u64) < self.tensors_declared { State::TensorName } else { State::Done }
    }

    /// One step through a key-value pair.
    fn key_value(&mut self, input: &mut Input) -> Step<State> {
        let value = match self.state {
            State::Key => {
                let (key, is_repaired) = self.text.read_lossy(input, KEY_BYTES_MAX, "a key of the metadata")?;
                self.key = key;
                if is_repaired {
                    self.warn_of_bytes("the name of the key");
                }
                return Ok(State::ValueType);
            }
            State::ValueType => {
                return Ok(match Kind::from_id(input.u32()?, &self.key)? {
                    Kind::Array => State::ElementType,
                    kind => State::Value(kind),
                });
            }
            State::ElementType => return Ok(State::ArrayLength(Kind::from_id(input.u32()?, &self.key)?)),
            State::ArrayLength(kind) => {
                let length = input.u64()?;
                input.check_fits(length.checked_mul(kind.bytes_min()), KeyLabel("the array of key", &self.key))?;
                self.array = Some(ArrayReader::new(kind, length, &self.key)?);
                return Ok(State::Elements);
            }
            State::Value(kind) => match kind.scalar(input)? {
                Some(value) => value,
                None => {
                    let label = KeyLabel("the value of key", &self.key);
                    let (text, is_repaired) = self.text.read_lossy(input, HEADER_BYTES_MAX, label)?;
                    if is_repaired {
                        self.warn_of_bytes("the value of key");
                    }
                    Value::String(text)
                }
            },
            _ => {
                if let Some(array) = &mut self.array {
                    array.read(input, KeyLabel("the array of key", &self.key))?;
                }
                Value::Array(self.array.take().expect("the state says that an array is in progress").values)
            }
        };
        self.metadata.insert(std::mem::take(&mut self.key), value)?;
        self.keys_left -= 1;
        Ok(self.after_value())
    }

    /// Warns that `what` of the key in progress is not UTF-8.
    fn warn_of_bytes(&mut self, what: &str) {
        if self.warnings.len() < WARNINGS_MAX {
            let key = shown(&self.key);
            self.warnings.push(format!("{what} '{key}' is not valid UTF-8: it is read with replacement characters"));
        }
    }

    /// One step through a tensor's entry.
    fn tensor_entry(&mut self, input: &mut Input) -> Step<State> {
        let tensor = &mut self.tensor;
        Ok(match self.state {
            State::TensorName => {
                tensor.name = self.text.read(input, TENSOR_NAME_BYTES_MAX, "the name of a tensor")?;
                State::DimensionCount
            }
            State::DimensionCount => {
                let count = input.u32()?;
                if !(1..=4).contains(&count) {
                    let message = format!("tensor '{}' has {count} dimensions, not 1 to 4", shown(&tensor.name));
                    return Err(ChordError::gguf(message).with("tensor", tensor.name.as_str()).into());
                }
                tensor.dimensions.reserve_exact(count as usize);
                State::Dimension(count)
            }
            State::Dimension(left) => {
                tensor.dimensions.push(input.u64()?);
                if left > 1 { State::Dimension(left - 1) } else { State::TensorType }
            }
            State::TensorType => {
                tensor.dtype = dtype(input.u32()?, &tensor.name)?;
                tensor.bytes = layout::tensor_bytes(tensor)?;
                State::TensorOffset
            }
            _ => {
                tensor.offset = input.u64()?;
                // Grown by a quarter instead of twofold to keep the memory bound of the parser.
                if self.tensors.len() == self.tensors.capacity() {
                    self.tensors.reserve_exact(self.tensors.len() / 4 + 16);
                }
                self.tensors.push(std::mem::replace(&mut self.tensor, empty_tensor()));
                self.after_tensor()
            }
        })
    }
}

/// Names a key's value in errors, and costs nothing where there is none.
struct KeyLabel<'a>(&'static str, &'a str);

impl std::fmt::Display for KeyLabel<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "{} '{}'", self.0, shown(self.1))
    }
}

/// A tensor entry of which nothing has been read.
fn empty_tensor() -> TensorInfo {
    TensorInfo { name: String::new(), dimensions: Vec::new(), dtype: Dtype::F32, part: 0, offset: 0, bytes: 0 }
}

/// Refuses a file that does not begin with `GGUF`, saying what it may be instead. `rest` is what has
/// arrived of the bytes after the first four.
/// The type with this number of the tensor `name`.
fn dtype(id: u32, name: &str) -> Result<Dtype> {
    Dtype::from_ggml(id).map_err(|unsupported| {
        let hint = match unsupported.is_removed {
            true => "was removed from the format; a file in Q4_0 or IQ4_NL takes its place",
            false => "is not supported",
        };
        let message = format!("tensor '{name}' has type {} ({id}), which {hint}", unsupported.name);
        let error = ChordError::new(ErrorCode::UnsupportedTensorType, message);
        error.with("tensor", name).with("type", unsupported.name).with("id", id)
    })
}

fn check_magic(magic: [u8; 4], rest: &[u8]) -> Result<()> {
    if magic == *b"GGUF" {
        return Ok(());
    }
    let first: Vec<u8> = magic.iter().chain(rest.iter().take(12)).copied().collect();
    let hint = match magic {
        _ if first.trim_ascii_start().starts_with(b"<") => "; it looks like a web page",
        _ if first.trim_ascii_start().starts_with(b"{") => "; it looks like JSON",
        [b'v', b'e', b'r', b's'] => "; it looks like a Git LFS pointer, not the file it points to",
        [b'P', b'K', 3, 4] => "; it looks like a zip or PyTorch file",
        [0x1f, 0x8b, ..] => "; it looks like a gzip file",
        [0, 0, 0, 0] => "; the file seems to be empty or not written yet",
        // The magics of the formats before GGUF, as numbers of four characters in little-endian.
        [b'l' | b't' | b'f' | b'a', b'm' | b'j' | b'g', b'g', b'g'] => {
            "; it looks like a GGML file of the time before GGUF"
        }
        _ if first.get(8) == Some(&b'{') => "; it looks like a safetensors file",
        _ => "",
    };
    let shown = first.escape_ascii().to_string();
    Err(ChordError::gguf(format!("not a GGUF file: it begins with \"{shown}\" instead of \"GGUF\"{hint}"))
        .with("first", shown))
}

/// Refuses versions other than 2 and 3 and files in big-endian byte order, which show themselves by
/// a version with its bytes swapped.
fn check_version(version: u32) -> Result<u32> {
    let message = match version {
        2 | 3 => return Ok(version),
        1 => "the file is in version 1 of GGUF, which is no longer supported; versions 2 and 3 are".to_string(),
        _ if (1..=0xffff).contains(&version.swap_bytes()) => {
            "the file is in big-endian byte order, which is not supported; a little-endian file is needed".to_string()
        }
        _ => format!("the file is in version {version} of GGUF, which is not supported; versions 2 and 3 are"),
    };
    Err(ChordError::new(ErrorCode::UnsupportedGguf, message).with("version", version))
}
