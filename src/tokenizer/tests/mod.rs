//! Tests of the whole tokeniser. Vocabularies are built here, and what they must give is computed by
//! definitions that share no code with what is tested.

mod encoders;
mod fuzz;
mod longest;
mod malformed;
mod naive;
mod plamo;
mod pre_tokenisers;
mod reference;
mod special;

use super::*;
use crate::gguf::{Array, Metadata, StringArray, Value};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Parses and nothing added: how most tests encode.
const PARSE: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
/// Text only.
const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };

/// A token of a test vocabulary.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    score: f32,
    kind: i32,
}

fn token(text: &str, score: f32, kind: i32) -> Token {
    Token { text: text.into(), score, kind }
}

/// Metadata of an SPM vocabulary.
fn spm_metadata(tokens: &[Token]) -> Metadata {
    let mut metadata = metadata("llama", tokens);
    let scores = tokens.iter().map(|token| token.score).collect();
    metadata.insert("tokenizer.ggml.scores".into(), Value::Array(Array::F32(scores))).unwrap();
    metadata
}

/// Metadata of a byte-level vocabulary; merges are written as in a file.
fn bpe_metadata(pre: &str, tokens: &[Token], merges: &[String]) -> Metadata {
    let mut metadata = metadata("gpt2", tokens);
    metadata.insert("tokenizer.ggml.pre".into(), Value::String(pre.into())).unwrap();
    metadata.insert("tokenizer.ggml.merges".into(), strings(merges)).unwrap();
    metadata
}

fn metadata(model: &str, tokens: &[Token]) -> Metadata {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let kinds = tokens.iter().map(|token| token.kind).collect();
    Metadata::from_iter([
        ("tokenizer.ggml.model".into(), Value::String(model.into())),
        ("tokenizer.ggml.tokens".into(), strings(&texts)),
        ("tokenizer.ggml.token_type".into(), Value::Array(Array::I32(kinds))),
    ])
}

fn strings<T: AsRef<[u8]>>(texts: &[T]) -> Value {
    Value::Array(Array::String(StringArray::from_iter(texts)))
}

/// Replaces or adds a pair.
fn set(metadata: Metadata, key: &str, value: Value) -> Metadata {
    let pairs = metadata.iter().map(|(key, value)| (key.to_string(), value.clone()));
    Metadata::from_iter(pairs.chain([(key.to_string(), value)]))
}

fn load(mut metadata: Metadata) -> Tokenizer {
    Tokenizer::from_metadata(&mut metadata).expect("the vocabulary is valid").0
}

/// The usual first tokens of an SPM vocabulary: unknown, start, end and the 256 bytes.
fn spm_base() -> Vec<Token> {
    let mut tokens = vec![token("<unk>", 0.0, UNKNOWN), token("<s>", 0.0, CONTROL), token("</s>", 0.0, CONTROL)];
    tokens.extend((0..256).map(|byte| token(&format!("<0x{byte:02X}>"), 0.0, BYTE)));
    tokens
}

/// How a file writes bytes: GPT-2's alphabet, written down as its paper's code has it.
fn alphabet(bytes: &[u8]) -> String {
    let printable = |byte: &u8| (33..=126).contains(byte) || (161..=172).contains(byte) || *byte >= 174;
    let others: Vec<u8> = (0..=255).filter(|byte| !printable(byte)).collect();
    let character = |byte: &u8| match others.iter().position(|other| other == byte) {
        Some(index) => char::from_u32(256 + index as u32).unwrap(),
        None => char::from(*byte),
    };
    bytes.iter().map(character).collect()
}

/// The 256 bytes as tokens of a byte-level vocabulary.
fn bpe_base() -> Vec<Token> {
    (0..=255).map(|byte| token(&alphabet(&[byte]), 0.0, NORMAL)).collect()
}

/// A small generator of numbers that need not be good ones (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A text of up to `length_max` of the given parts.
    fn text(&mut self, parts: &[&str], length_max: usize) -> String {
        (0..self.below(length_max + 1)).map(|_| self.pick(parts)).collect()
    }
}
