//! Little-endian values out of bytes that arrive in pieces of any size.

use crate::error::ChordError;
use std::fmt::Display;

/// Why a step of the parser did not complete.
pub(super) enum Stop {
    /// The bytes at hand are used up.
    NeedMore,
    /// The file is bad.
    Failed(ChordError),
}

impl From<ChordError> for Stop {
    fn from(error: ChordError) -> Self {
        Stop::Failed(error)
    }
}

/// The outcome of a step that may have to wait for bytes.
pub(super) type Step<T> = Result<T, Stop>;

/// The beginning of a number whose end has not arrived.
#[derive(Clone, Copy, Default)]
pub(super) struct Carry {
    bytes: [u8; 8],
    len: usize,
}

impl Carry {
    /// Bytes that are held.
    pub fn len(self) -> usize {
        self.len
    }
}

/// The bytes of one feed, after those carried over from the last.
pub(super) struct Input<'a> {
    pub bytes: &'a [u8],
    pub carry: Carry,
    /// Bytes of the file consumed so far, those in `carry` excluded.
    pub position: u64,
    /// Where the header has to end at the latest.
    pub limit: u64,
}

impl<'a> Input<'a> {
    /// The next `N` bytes (at most 8), of which the last piece may still be missing.
    pub fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut value = [0; N];
        if self.carry.len == 0
            && let Some((head, rest)) = self.bytes.split_first_chunk::<N>()
        {
            self.bytes = rest;
            value = *head;
        } else {
            let carry = &mut self.carry;
            let (head, rest) = self.bytes.split_at(self.bytes.len().min(N - carry.len));
            carry.bytes[carry.len..carry.len + head.len()].copy_from_slice(head);
            carry.len += head.len();
            self.bytes = rest;
            if carry.len < N {
                return Err(Stop::NeedMore);
            }
            value.copy_from_slice(&carry.bytes[..N]);
            carry.len = 0;
        }
        self.position += N as u64;
        Ok(value)
    }

    /// The next 32-bit number.
    pub fn u32(&mut self) -> Step<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next 64-bit number.
    pub fn u64(&mut self) -> Step<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// As many of the next `count` bytes as have arrived. Nothing may be carried over.
    pub fn up_to(&mut self, count: u64) -> &'a [u8] {
        debug_assert_eq!(self.carry.len, 0);
        let here = usize::try_from(count).map_or(self.bytes.len(), |count| count.min(self.bytes.len()));
        let (head, rest) = self.bytes.split_at(here);
        self.bytes = rest;
        self.position += here as u64;
        head
    }

    /// Refuses a declared size that what is left of the header cannot hold; `None` is a size that
    /// overflowed.
    pub fn check_fits(&self, bytes: Option<u64>, what: impl Display) -> Result<(), ChordError> {
        let left = self.limit.saturating_sub(self.position);
        match bytes {
            Some(bytes) if bytes <= left => Ok(()),
            _ => {
                let need = bytes.map_or("more than 2^64".into(), |bytes| bytes.to_string());
                Err(ChordError::gguf(format!("{what} needs {need} bytes, but at most {left} are left for the header"))
                    .with("have", left))
            }
        }
    }

    /// Reads numbers of `N` bytes into `out`, in runs as long as have arrived, until `left` is 0.
    pub fn numbers<T, const N: usize>(
        &mut self,
        out: &mut Vec<T>,
        left: &mut u64,
        decode: fn([u8; N]) -> T,
    ) -> Step<()> {
        while *left > 0 {
            if self.carry.len > 0 || self.bytes.len() < N {
                out.push(decode(self.take()?));
                *left -= 1;
            } else {
                let whole = (self.bytes.len() / N) as u64;
                let count = whole.min(*left);
                let (chunks, _) = self.up_to(count * N as u64).as_chunks::<N>();
                out.extend(chunks.iter().map(|chunk| decode(*chunk)));
                *left -= count;
            }
        }
        Ok(())
    }
}

/// A string of the header that is being read.
#[derive(Default)]
pub(super) struct Text {
    /// Bytes still missing, once the length is known.
    left: Option<u64>,
    bytes: Vec<u8>,
}

impl Text {
    /// Reads the string to its end. `what` names it in errors, of which one is that it is not UTF-8.
    pub fn read(&mut self, input: &mut Input, bytes_max: u64, what: impl Display) -> Step<String> {
        let bytes = self.read_bytes(input, bytes_max, &what)?;
        Ok(String::from_utf8(bytes).map_err(|_| ChordError::gguf(format!("{what} is not valid UTF-8")))?)
    }

    /// The same with U+FFFD for what is not UTF-8, and whether there was such.
    pub fn read_lossy(&mut self, input: &mut Input, bytes_max: u64, what: impl Display) -> Step<(String, bool)> {
        let bytes = self.read_bytes(input, bytes_max, what)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => {
                let mut bytes = error.into_bytes();
                bytes.shrink_to_fit();
                (repaired(&bytes), true)
            }
        })
    }

    fn read_bytes(&mut self, input: &mut Input, bytes_max: u64, what: impl Display) -> Step<Vec<u8>> {
        let left = match self.left {
            Some(left) => left,
            None => {
                let length = input.u64()?;
                input.check_fits(Some(length), &what)?;
                if length > bytes_max {
                    let message = format!("{what} is {length} bytes long; at most {bytes_max} are allowed");
                    return Err(ChordError::gguf(message).into());
                }
                length
            }
        };
        let here = input.up_to(left);
        self.bytes.extend_from_slice(here);
        let left = left - here.len() as u64;
        self.left = Some(left);
        if left > 0 {
            return Err(Stop::NeedMore);
        }
        Ok(std::mem::take(self).bytes)
    }
}

/// Text with U+FFFD for what is not UTF-8, in an allocation of the very size: it may be three times the bytes'.
fn repaired(bytes: &[u8]) -> String {
    const REPLACEMENT: &str = "\u{fffd}";
    let replaced = |chunk: &std::str::Utf8Chunk| if chunk.invalid().is_empty() { "" } else { REPLACEMENT };
    let size = bytes.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(&chunk).len()).sum();
    let mut text = String::with_capacity(size);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(replaced(&chunk));
    }
    text
}
