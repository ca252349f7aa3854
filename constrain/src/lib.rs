//! Grammars for answers: which tokens of a vocabulary may come next, by llguidance.
//!
//! It is a wasm module of its own, because few pages ask for it and it is as large as the engine. It exchanges bytes and
//! numbers only (`exports`), so that one build serves every build of the engine.

#[cfg(target_family = "wasm")]
mod exports;
mod formats;
mod gbnf;
mod parts;
mod schema;
#[cfg(test)]
mod tests;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

pub use gbnf::to_lark;
pub use parts::Part;

/// White space between the words of JSON: a space, or a line break with an indentation, as llama.cpp's grammars have it.
/// JSON allows any amount, and weak models would go on with it for ever.
const WHITE_SPACE: &str = r" |\n[ \t]{0,24}";

/// A grammar as a request names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grammar {
    /// Any JSON object.
    JsonObject {},
    /// JSON that a schema describes.
    JsonSchema(Value),
    /// GBNF, as llama.cpp has it, where there is a `::=` in it; otherwise Lark, as llguidance has it.
    Grammar(String),
    /// A regular expression, as Rust's `regex` has it, for the whole text.
    Regex(String),
    /// What the engine puts together itself, for calls of tools.
    Parts(Part),
}

/// Why a grammar is refused, or why it cannot go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// In words.
    pub message: String,
    /// The keyword of a schema that is at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword: Option<String>,
    /// Where in the schema it stands, as a JSON Pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Refused {
    fn new(message: impl Into<String>) -> Refused {
        Refused { message: message.into(), ..Refused::default() }
    }
}

/// The tokens of a model, arranged for grammars.
pub struct Vocabulary {
    factory: ParserFactory,
    /// Tokens with the same bytes as another one, which stands for them.
    twins: Vec<(u32, u32)>,
    words: usize,
}

impl Vocabulary {
    /// `pieces` are the bytes that each token adds to a text: none for those that add nothing, which no grammar allows.
    /// `ends` are the tokens that end an answer.
    pub fn new(mut pieces: Vec<Vec<u8>>, ends: &[u32]) -> Result<Vocabulary, Refused> {
        let count = u32::try_from(pieces.len()).map_err(|_| Refused::new("the vocabulary is too large"))?;
        let ends: Vec<u32> = ends.iter().copied().filter(|end| *end < count).collect();
        let Some(&first) = ends.first() else {
            return Err(Refused::new("the model has no token that ends an answer, as a grammar needs it"));
        };
        for &end in &ends {
            pieces[end as usize].clear();
        }
        let mut twins = Vec::new();
        let mut seen: HashMap<&[u8], u32> = HashMap::with_capacity(pieces.len());
        for (token, piece) in (0..count).zip(&pieces).filter(|(_, piece)| !piece.is_empty()) {
            match seen.get(piece.as_slice()) {
                Some(&twin) => twins.push((token, twin)),
                None => drop(seen.insert(piece, token)),
            }
        }
        for &(token, _) in &twins {
            pieces[token as usize].clear();
        }
        let trie = TokTrie::from(&TokRxInfo::new(count, first), &pieces).with_eos_tokens(&ends);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|error| Refused::new(error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Vocabulary { factory, twins, words: pieces.len().div_ceil(32) })
    }

    /// Words of a mask: 32 tokens each, the first in the lowest bit.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Prepares a grammar.
    pub fn compile(&self, grammar: Grammar) -> Result<Constraint, Refused> {
        let has_tokens = matches!(&grammar, Grammar::Parts(part) if part.has_tokens());
        let top = match grammar {
            Grammar::JsonObject {} => TopLevelGrammar::from_json_schema(spaced(json!({"type": "object"}))),
            Grammar::JsonSchema(schema) => {
                schema::check(&schema)?;
                TopLevelGrammar::from_json_schema(spaced(schema::plain(schema)))
            }
            Grammar::Grammar(text) if text.contains("::=") => TopLevelGrammar::from_lark(to_lark(&text)?),
            Grammar::Grammar(text) => TopLevelGrammar::from_lark(text),
            Grammar::Regex(pattern) => TopLevelGrammar::from_regex(&pattern),
            Grammar::Parts(part) => TopLevelGrammar::from_lark(parts::to_lark(&part)?),
        };
        let parser = self.factory.create_parser(top).map_err(|error| refused(&format!("{error:#}")))?;
        let start = Matcher::new(Ok(parser));
        let mut constraint = Constraint {
            matcher: start.clone(),
            start,
            environment: self.factory.tok_env().clone(),
            twins: self.twins.clone(),
            has_tokens,
        };
        // What can never begin is refused before anything is computed.
        constraint.mask(&mut vec![0; self.words])?;
        constraint.restart();
        Ok(constraint)
    }
}

/// An answer that is held to a grammar.
pub struct Constraint {
    /// Before the first token.
    start: Matcher,
    matcher: Matcher,
    environment: TokEnv,
    twins: Vec<(u32, u32)>,
    /// There are tokens without text in the grammar.
    has_tokens: bool,
}

impl Constraint {
    /// Another one of the same grammar, before its first token.
    #[must_use]
    pub fn another(&self) -> Constraint {
        Constraint {
            start: self.start.clone(),
            matcher: self.start.clone(),
            environment: self.environment.clone(),
            twins: self.twins.clone(),
            has_tokens: self.has_tokens,
        }
    }

    /// Goes back to before the first token.
    pub fn restart(&mut self) {
        self.matcher = self.start.clone();
    }

    /// Sets the bits of the tokens that may come next, and clears all others. Those that end an answer may come where the
    /// grammar is satisfied.
    pub fn mask(&mut self, allowed: &mut [u32]) -> Result<(), Refused> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| refused(&error.to_string()))?;
        let words = mask.as_slice();
        allowed.fill(0);
        let shared = allowed.len().min(words.len());
        allowed[..shared].copy_from_slice(&words[..shared]);
        for &(token, twin) in &self.twins {
            let is_allowed = allowed[twin as usize / 32] >> (twin % 32) & 1;
            allowed[token as usize / 32] |= is_allowed << (token % 32);
        }
        match allowed.iter().any(|word| *word != 0) {
            true => Ok(()),
            false => Err(Refused::new("the grammar goes on with what no token of the model can write")),
        }
    }

    /// A token that was allowed has come. True if only the end of the answer can follow.
    pub fn commit(&mut self, token: u32) -> Result<bool, Refused> {
        let token = self.own(token);
        self.matcher.consume_token(token).map_err(|error| refused(&error.to_string()))?;
        Ok(self.matcher.is_stopped())
    }

    /// How many of these tokens, which were guessed, may come one after the other.
    pub fn agreeing(&mut self, tokens: &[u32]) -> usize {
        if self.matcher.is_stopped() {
            return 0;
        }
        let tokens: Vec<u32> = tokens.iter().map(|token| self.own(*token)).collect();
        self.matcher.validate_tokens(&tokens).unwrap_or(0)
    }

    /// The bytes that have to come next, and whether only the end of the answer can follow them.
    pub fn forced(&mut self) -> (Vec<u8>, bool) {
        if self.matcher.is_stopped() {
            return (Vec::new(), true);
        }
        let mut bytes = match self.has_tokens {
            // What has to come stays with the matcher, and it could not go on behind a half of what stands for such a token.
            true => self.matcher.clone().compute_ff_bytes(),
            false => self.matcher.compute_ff_bytes(),
        };
        if let Some(token) = bytes.iter().position(|byte| *byte == TokTrie::SPECIAL_TOKEN_MARKER) {
            bytes.truncate(token);
        }
        if bytes.is_empty() {
            return (bytes, false);
        }
        let tokens = self.environment.tok_trie().greedy_tokenize(&bytes);
        let mut behind = self.matcher.clone();
        let is_whole = self.environment.tok_trie().decode_raw(&tokens) == bytes;
        let ends = is_whole && behind.consume_tokens(&tokens).is_ok() && behind.is_stopped();
        (bytes, ends)
    }

    /// The token that stands for this one in the trie.
    fn own(&self, token: u32) -> u32 {
        let at = self.twins.binary_search_by_key(&token, |twin| twin.0);
        at.map_or(token, |at| self.twins[at].1)
    }
}

/// The schema with what white space there may be, unless it says so itself.
fn spaced(mut schema: Value) -> Value {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.entry(schema::OPTIONS).or_insert_with(|| json!({"whitespace_pattern": WHITE_SPACE}));
    }
    schema
}

/// An error of llguidance, told shortly.
fn refused(error: &str) -> Refused {
    let error = error.split("\n<").next().unwrap_or(error).trim();
    let keyword = if error.contains("oneOf constraints are not supported") {
        return Refused {
            message:
                "'oneOf' is supported where its schemas are told apart by a type, a constant or a required property: \
                      use 'anyOf'"
                    .into(),
            keyword: Some("oneOf".into()),
            at: None,
        };
    } else if error.contains("Unknown format") {
        Some("format")
    } else if error.contains("$ref") || error.contains("Reference segment") {
        Some("$ref")
    } else if error.contains("maxProperties only supported") {
        Some("minProperties")
    } else if error.contains("patternProperty regexes") {
        Some("patternProperties")
    } else if error.contains("'multipleOf'") {
        Some("multipleOf")
    } else {
        None
    };
    Refused { message: error.to_owned(), keyword: keyword.map(str::to_owned), at: None }
}
