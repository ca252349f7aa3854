//! Byte-level BPE: words of bytes whose neighbours merge by rank.

use super::index::{Index, hash_pair};
use super::merge::{Merge, Merger, NO_TOKEN};
use super::patterns::PreTokeniser;
use super::split::split;
use super::vocabulary::Vocabulary;
use crate::gguf::StringArray;

/// Characters of the alphabet in which files write bytes lie below this: 256 of them stand for
/// printable bytes or follow U+0100.
const ALPHABET_END: usize = 256 + 68;

/// The byte that each character of GPT-2's alphabet stands for, or −1. A byte that is printable in
/// Latin-1 is its own character; the others are numbered from U+0100 on, in order.
const ALPHABET: [i16; ALPHABET_END] = {
    let mut bytes = [-1; ALPHABET_END];
    let (mut byte, mut next) = (0, 256);
    while byte < 256 {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let character = if printable { byte } else { next };
        next += !printable as usize;
        bytes[character] = byte as i16;
        byte += 1;
    }
    bytes
};

/// Appends the bytes that `text` stands for; false if it is not written in the alphabet.
pub fn decode_alphabet(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    text.chars().all(|character| match ALPHABET.get(character as usize) {
        Some(&byte) if byte >= 0 => {
            out.push(byte as u8);
            true
        }
        _ => false,
    })
}

/// The ranks and merges of a vocabulary.
#[derive(Debug)]
pub struct Bpe {
    pre_tokeniser: PreTokeniser,
    /// The token of each byte, or `NO_TOKEN`.
    byte_tokens: Box<[u32; 256]>,
    ranks: Ranks,
}

impl Bpe {
    /// Reads `merges`, whose order is their rank. Gives also the number of those that are of no use,
    /// because they name tokens that the vocabulary does not have.
    pub fn new(pre_tokeniser: PreTokeniser, vocabulary: &Vocabulary, merges: &StringArray) -> (Self, usize) {
        let byte_tokens = std::array::from_fn(|byte| vocabulary.find(&[byte as u8]).unwrap_or(NO_TOKEN));
        let (ranks, useless) = Ranks::new(vocabulary, merges);
        (Bpe { pre_tokeniser, byte_tokens: Box::new(byte_tokens), ranks }, useless)
    }

    /// Appends the tokens of `text`. What no token stands for becomes `unknown`, if there is one.
    pub fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        unknown: Option<u32>,
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        split(text, self.pre_tokeniser.passes, &mut |word: &str| {
            let whole = if self.pre_tokeniser.whole_words { vocabulary.find(word.as_bytes()) } else { None };
            match whole {
                Some(id) => out.push(id),
                None => self.encode_word(word.as_bytes(), unknown, merger, out),
            }
        });
    }

    fn encode_word(&self, word: &[u8], unknown: Option<u32>, merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        for (start, &byte) in word.iter().enumerate() {
            merger.push(start, self.byte_tokens[byte as usize]);
        }
        merger.run(word.len(), |_, left, right| self.ranks.find(left, right));
        out.extend(merger.symbols().filter_map(|(_, id)| if id == NO_TOKEN { unknown } else { Some(id) }));
    }
}

/// The pairs that merge, in order of rank.
#[derive(Debug)]
struct Ranks {
    pairs: Vec<(u32, u32)>,
    merged: Vec<u32>,
    /// Ranks by pair.
    index: Index,
}

impl Ranks {
    fn new(vocabulary: &Vocabulary, merges: &StringArray) -> (Self, usize) {
        let count = merges.len();
        let mut ranks =
            Ranks { pairs: Vec::with_capacity(count), merged: Vec::with_capacity(count), index: Index::new(count) };
        let mut scratch = Vec::new();
        for merge in merges.iter() {
            if let Some((left, right, merged)) = resolve(vocabulary, merge, &mut scratch) {
                ranks.add(left, right, merged);
            }
        }
        let useless = count - ranks.pairs.len();
        (ranks, useless)
    }

    fn add(&mut self, left: u32, right: u32, merged: u32) {
        let rank = self.pairs.len() as u32;
        self.pairs.push((left, right));
        self.merged.push(merged);
        let pairs = &self.pairs;
        self.index.insert(hash_pair(left, right), rank, |other| pairs[other as usize] == (left, right));
    }

    fn find(&self, left: u32, right: u32) -> Option<Merge> {
        let rank = self.index.find(hash_pair(left, right), |rank| self.pairs[rank as usize] == (left, right))?;
        Some(Merge { priority: rank, id: self.merged[rank as usize] })
    }
}

/// The ids of a merge: left, right and both together. The text is `left right`, where the space that
/// separates cannot be the first character.
fn resolve(vocabulary: &Vocabulary, merge: &[u8], scratch: &mut Vec<u8>) -> Option<(u32, u32, u32)> {
    let space = 1 + merge.get(1..)?.iter().position(|&byte| byte == b' ')?;
    scratch.clear();
    if !decode_alphabet(&merge[..space], scratch) {
        return None;
    }
    let middle = scratch.len();
    if !decode_alphabet(&merge[space + 1..], scratch) {
        return None;
    }
    let left = vocabulary.find(&scratch[..middle])?;
    let right = vocabulary.find(&scratch[middle..])?;
    Some((left, right, vocabulary.find(scratch)?))
}
