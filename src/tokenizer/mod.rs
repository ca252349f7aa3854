//! Text to tokens and back.
//!
//! Text is cut at special tokens (`special`), the rest goes through one of two ways of merging
//! (`merge`): SentencePiece's by score (`spm`), or byte-level BPE by rank (`bpe`) within the words of
//! a pre-tokeniser (`split`, `patterns`, `class`). Time is O(n log n) in the length of the text. Encoders
//! have two ways more, which look for whole tokens: `wordpiece` takes the longest, `unigram` the likeliest. RWKV takes the
//! `longest` without words, and `plamo` the likeliest without normalising the text.

mod accents;
mod bpe;
mod charsmap;
mod class;
mod end;
mod index;
mod load;
mod longest;
mod merge;
mod patterns;
mod plamo;
mod prefixes;
mod special;
mod split;
mod spm;
mod stream;
#[cfg(test)]
mod tests;
mod unigram;
mod vocabulary;
mod wordpiece;

pub use stream::Detokenizer;

use crate::error::{ChordError, Result};
use merge::Merger;
use vocabulary::{Kind, Vocabulary};

/// What [`Tokenizer::encode`] does beside cutting the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Adds the start and end tokens that the model wants around a text.
    pub add_special: bool,
    /// Turns the names of control tokens in the text into those tokens.
    pub parse_special: bool,
}

/// The vocabulary of a model and how it is used.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: Model,
    specials: special::Specials,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    unknown: Option<u32>,
    /// Stands between two texts.
    separator: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    /// Whether the separator comes between two texts, beside the tokens around each.
    add_separator: bool,
    /// Whether a space is put before text that follows a special token or starts the input.
    space_prefix: bool,
    /// Tokens that end a generation, in order.
    ends: Vec<u32>,
    /// Special tokens after which white space is dropped, in order.
    strips: Vec<u32>,
}

/// How text without special tokens is cut.
#[derive(Debug)]
enum Model {
    /// Not at all: the tokens have no text.
    None,
    Spm(spm::Spm),
    Bpe(bpe::Bpe),
    WordPiece(wordpiece::WordPiece),
    Unigram(unigram::Unigram),
    Longest(longest::Longest),
    Plamo(plamo::Plamo),
}

impl Tokenizer {
    /// The tokens of `text`. `InvalidParameter` if the model's tokens have no text.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        self.check_text(text)?;
        let mut ids = Vec::new();
        ids.extend(self.bos.filter(|_| options.add_special && self.add_bos));
        self.encode_fragments(text, options.parse_special, None, &mut ids);
        ids.extend(self.eos.filter(|_| options.add_special && self.add_eos));
        Ok(ids)
    }

    /// The tokens of two texts that belong together, a query and a document, with those that the model wants around and
    /// between them. Names of control tokens are text.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Vec<u32>> {
        self.check_text(first)?;
        self.check_text(second)?;
        let (start, end) = (self.bos.filter(|_| self.add_bos), self.eos.filter(|_| self.add_eos));
        let mut ids = Vec::new();
        ids.extend(start);
        self.encode_fragments(first, false, None, &mut ids);
        ids.extend(end);
        ids.extend(self.separator.filter(|_| self.add_separator));
        self.encode_fragments(second, false, None, &mut ids);
        ids.extend(end);
        Ok(ids)
    }

    /// The tokens of a rendered chat prompt. Control tokens are recognised unless `guard`, which the
    /// renderer puts into the names of control tokens that occur in content, breaks them; the guard
    /// itself leaves no token. The start token comes first exactly once if the model wants it.
    pub fn encode_chat(&self, rendered: &str, guard: Option<char>) -> Result<Vec<u32>> {
        self.check_text(rendered)?;
        let mut ids = Vec::new();
        ids.extend(self.bos.filter(|_| self.add_bos));
        self.encode_fragments(rendered, true, guard, &mut ids);
        if ids.len() >= 2 && self.add_bos && ids[0] == ids[1] {
            ids.remove(0);
        }
        Ok(ids)
    }

    /// The tokens of a text that goes on where another one has ended: no space is put before it, and no name of a control
    /// token is one. None if the model's tokens have no text.
    pub fn encode_on(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_plain(text, None, false, &mut Merger::default(), &mut ids);
        ids
    }

    /// The names of the tokens that text can turn into only where they are asked for: what content of
    /// a chat must not contain unguarded.
    pub fn control_texts(&self) -> impl Iterator<Item = &str> {
        let control = self.specials.ids().iter().filter(|id| self.vocabulary.kind(**id) != Kind::UserDefined);
        control.filter_map(|&id| std::str::from_utf8(self.vocabulary.bytes(id)).ok())
    }

    /// The bytes that token `id` adds to a text; none for control tokens. They may be part of a
    /// character. `InvalidParameter` if there is no such token.
    pub fn piece(&self, id: u32) -> Result<&[u8]> {
        let visible = matches!(self.kind(id)?, Some(Kind::Normal | Kind::UserDefined | Kind::Byte));
        Ok(if visible { self.vocabulary.bytes(id) } else { &[] })
    }

    /// Like [`piece`](Self::piece), with the names of tokens that add no text.
    pub fn piece_special(&self, id: u32) -> Result<&[u8]> {
        Ok(if self.kind(id)?.is_some() { self.vocabulary.bytes(id) } else { &[] })
    }

    /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD. The space that encoding puts before
    /// a text is taken away.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        let mut at_start = self.space_prefix || matches!(self.model, Model::WordPiece(_));
        for &id in ids {
            let mut piece = self.piece(id)?;
            if at_start && !piece.is_empty() {
                let inserted = self.vocabulary.kind(id) != Kind::UserDefined;
                piece = piece.strip_prefix(b" ").filter(|_| inserted).unwrap_or(piece);
                at_start = false;
            }
            bytes.extend_from_slice(piece);
        }
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Starts turning tokens into text as they come.
    pub fn stream(&self) -> Detokenizer {
        Detokenizer::default()
    }

    /// The token with this text: a special token by its name, else a normal one.
    pub fn token_for_text(&self, text: &str) -> Option<u32> {
        self.special_id(text.as_bytes()).or_else(|| self.vocabulary.find(text.as_bytes()))
    }

    /// The first place in `text` where the name of a token stands that adds no text, and the token.
    pub fn first_control(&self, text: &str) -> Option<(usize, u32)> {
        let mut from = 0;
        loop {
            let (at, id) = self.specials.find(&self.vocabulary, text.as_bytes(), from, true)?;
            if self.piece(id).is_ok_and(<[u8]>::is_empty) {
                return Some((at, id));
            }
            from = at + self.vocabulary.bytes(id).len();
        }
    }

    /// Whether a control or user-defined token has this name.
    pub fn is_special(&self, name: &str) -> bool {
        self.special_id(name.as_bytes()).is_some()
    }

    /// The special token with this name.
    fn special_id(&self, name: &[u8]) -> Option<u32> {
        let ids = self.specials.ids();
        let first = ids.partition_point(|&id| self.vocabulary.bytes(id) < name);
        ids.get(first).copied().filter(|&id| self.vocabulary.bytes(id) == name)
    }

    /// The token that starts a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a chat.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether the model ends a generation with this token.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// All tokens that end a generation, in order of id.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Whether the model wants the start token before a text.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether the model wants the end token after a text.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Number of tokens that the file lists; 0 if it lists none.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether the tokens have text. If not, prompts are token ids.
    pub fn has_text(&self) -> bool {
        !matches!(self.model, Model::None)
    }

    /// The kind of token `id`; `None` where tokens have no text.
    fn kind(&self, id: u32) -> Result<Option<Kind>> {
        if !self.has_text() {
            return Ok(None);
        }
        if id as usize >= self.vocabulary.len() {
            let message = format!("token {id} is outside the vocabulary of {} tokens", self.vocabulary.len());
            return Err(ChordError::parameter("tokens", message).with("token", id));
        }
        Ok(Some(self.vocabulary.kind(id)))
    }

    /// Refuses text that cannot be encoded.
    fn check_text(&self, text: &str) -> Result<()> {
        if !self.has_text() {
            let message = "the vocabulary of this model has no text; pass token ids instead of text";
            return Err(ChordError::parameter("prompt", message));
        }
        if u32::try_from(text.len()).is_err() {
            return Err(ChordError::parameter("prompt", "a text of 4 GiB or more cannot be encoded"));
        }
        Ok(())
    }

    /// Appends the tokens of `text`: special tokens, and what the model makes of the text between.
    fn encode_fragments(&self, text: &str, control: bool, guard: Option<char>, out: &mut Vec<u32>) {
        let mut merger = Merger::default();
        let mut start = 0;
        let mut prefix = self.space_prefix;
        while let Some((at, id)) = self.specials.find(&self.vocabulary, text.as_bytes(), start, control) {
            self.encode_plain(&text[start..at], guard, prefix, &mut merger, out);
            out.push(id);
            prefix = self.space_prefix;
            start = at + self.vocabulary.bytes(id).len();
            if self.strips.binary_search(&id).is_ok() {
                let rest = &text[start..];
                start = text.len() - rest.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']).len();
            }
        }
        self.encode_plain(&text[start..], guard, prefix, &mut merger, out);
    }

    /// Appends the tokens of text without special tokens, with a space before it if `prefix`.
    fn encode_plain(&self, text: &str, guard: Option<char>, prefix: bool, merger: &mut Merger, out: &mut Vec<u32>) {
        let unguarded;
        let text = match guard {
            Some(guard) if text.contains(guard) => {
                unguarded = text.replace(guard, "");
                unguarded.as_str()
            }
            _ => text,
        };
        if text.is_empty() {
            return;
        }
        match &self.model {
            Model::None => {}
            Model::Bpe(bpe) => bpe.encode(&self.vocabulary, text, self.unknown, merger, out),
            Model::WordPiece(words) => words.encode(&self.vocabulary, text, self.unknown, out),
            Model::Longest(longest) => longest.encode(&self.vocabulary, text, self.unknown, out),
            Model::Plamo(plamo) => plamo.encode(&self.vocabulary, text, self.unknown, out),
            Model::Unigram(unigram) => unigram.encode(&self.vocabulary, text, self.unknown, out),
            Model::Spm(spm) => {
                let space = if prefix { " " } else { "" };
                let spaced = format!("{space}{}", text.replace(spm::SPACE, " "));
                spm.encode(&self.vocabulary, &spaced, self.unknown, merger, out);
            }
        }
    }
}
