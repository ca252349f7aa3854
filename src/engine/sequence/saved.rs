//! A sequence as bytes, so that it outlives its engine. All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CHORDSEQ` |
//! | 4 | version of this format |
//! | 8 | fingerprint of the model, of the build that computed it, and of the format of keys and values |
//! | 4 | number of tokens, n |
//! | 8 | bytes of the state |
//! | 4 n | the tokens |
//! | … | every state, as [`crate::state::Layout`] says, of n positions |
//! | 8 | checksum of all that |

use crate::error::{ChordError, ErrorCode, Result};
use crate::state::Layout;

const MAGIC: &[u8; 8] = b"CHORDSEQ";
const VERSION: u32 = 1;
/// Bytes before the tokens, and of the checksum.
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

/// A sequence that is being written, state after state.
pub struct Saving {
    /// States that were written.
    pub done: usize,
    pub bytes: Vec<u8>,
}

impl Saving {
    /// Begins with what comes before the state.
    pub fn new(tokens: &[u32], fingerprint: u64, layout: &Layout) -> Result<Saving> {
        let state = layout.bytes(tokens.len());
        let all = HEADER_BYTES + 4 * tokens.len() + state + CHECKSUM_BYTES;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(all).map_err(|_| {
            ChordError::new(ErrorCode::OutOfMemory, format!("no memory for a saved sequence of {all} bytes"))
                .with("bytes", all)
        })?;
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&fingerprint.to_le_bytes());
        bytes.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(state as u64).to_le_bytes());
        tokens.iter().for_each(|token| bytes.extend_from_slice(&token.to_le_bytes()));
        Ok(Saving { done: 0, bytes })
    }

    /// All bytes, once every state was appended.
    pub fn finish(mut self) -> Vec<u8> {
        let sum = fold(SEED, &self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// A saved sequence that may be taken up.
pub struct Saved<'a> {
    pub tokens: Vec<u32>,
    /// Every state.
    pub state: &'a [u8],
}

impl Saved<'_> {
    /// Reads what [`Saving`] wrote, and refuses what is damaged or was computed by another model or build.
    pub fn read<'a>(bytes: &'a [u8], fingerprint: u64, layout: &Layout) -> Result<Saved<'a>> {
        let mut rest = bytes;
        let short = || refused("truncated", "the saved sequence ends early");
        if bytes.len() < HEADER_BYTES {
            return Err(if MAGIC.starts_with(&bytes[..bytes.len().min(8)]) { short() } else { foreign() });
        }
        if take::<8>(&mut rest) != *MAGIC {
            return Err(foreign());
        }
        let version = u32::from_le_bytes(take(&mut rest));
        if version != VERSION {
            return Err(refused(
                "version",
                format!("the saved sequence has version {version}; {VERSION} is understood"),
            ));
        }
        let made_by = u64::from_le_bytes(take(&mut rest));
        let count = u32::from_le_bytes(take(&mut rest)) as usize;
        let state_bytes = u64::from_le_bytes(take(&mut rest));
        let all = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
        let all = all.saturating_add(4 * count as u64).saturating_add(state_bytes);
        match (bytes.len() as u64).cmp(&all) {
            std::cmp::Ordering::Less => return Err(short()),
            std::cmp::Ordering::Greater => return Err(refused("damaged", "more bytes follow the saved sequence")),
            std::cmp::Ordering::Equal => {}
        }
        let (content, mut sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if u64::from_le_bytes(take(&mut sum)) != fold(SEED, content) {
            return Err(refused("damaged", "the saved sequence is damaged: its checksum is another"));
        }
        if made_by != fingerprint {
            return Err(refused(
                "model",
                "the saved sequence was computed by another model or build, or with another kvCache",
            ));
        }
        if count > layout.context {
            let text = format!("{count} saved tokens do not fit the context of {}", layout.context);
            return Err(ChordError::new(ErrorCode::ContextOverflow, text)
                .with("need", count)
                .with("have", layout.context));
        }
        let (tokens, state) = content[HEADER_BYTES..].split_at(4 * count);
        if state.len() != layout.bytes(count) {
            return Err(refused("model", "the saved sequence has a state of another shape"));
        }
        let tokens = tokens.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Saved { tokens, state })
    }
}

fn foreign() -> ChordError {
    refused("foreign", "these bytes are no saved sequence")
}

fn refused(reason: &str, message: impl Into<String>) -> ChordError {
    ChordError::new(ErrorCode::InvalidState, message).with("reason", reason)
}

/// The next bytes, which are there.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (now, later) = rest.split_at(N);
    *rest = later;
    std::array::from_fn(|i| now[i])
}

/// Where a hash begins.
pub const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// Joins bytes to a hash, eight at a time. Each step can be undone, so that a change of eight neighbouring bytes
/// is always noticed.
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut words = bytes.chunks_exact(8);
    let hash = words.by_ref().fold(hash, |hash, word| {
        let mut word = word;
        mix(hash, u64::from_le_bytes(take(&mut word)))
    });
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}
