//! The tokens that end a generation.
//!
//! Files name one or two of them; models use more. Like llama.cpp, tokens with well-known names count
//! too.

use crate::gguf::StringArray;

/// Names of tokens that end a generation or a turn, in the families of models that use them.
const END_NAMES: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    // Between the parts of a code-completion prompt, where the completion is over.
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// Names of tokens that end a turn, the first that a vocabulary has first.
const TURN_NAMES: &[&str] = &["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>"];

/// Tokens with well-known names.
#[derive(Default)]
pub struct WellKnown {
    /// Those that end a generation, in order of id.
    pub ends: Vec<u32>,
    /// The one that ends a turn.
    pub turn: Option<u32>,
}

/// Looks for well-known names among the tokens of a file of which `special` holds.
pub fn well_known(tokens: &StringArray, special: impl Fn(u32) -> bool) -> WellKnown {
    let longest = END_NAMES.iter().map(|name| name.len()).max().unwrap_or(0);
    let named: Vec<(u32, &[u8])> = (0..)
        .zip(tokens.iter())
        .filter(|(_, token)| token.len() <= longest && matches!(token.first(), Some(b'<' | b'[' | b'_')))
        .filter(|(id, token)| END_NAMES.iter().any(|name| name.as_bytes() == *token) && special(*id))
        .collect();
    let find = |name: &str| named.iter().find(|(_, token)| *token == name.as_bytes()).map(|&(id, _)| id);
    let turn = TURN_NAMES.iter().find_map(|name| find(name));
    // In the format that returns and calls, a message ends with <|end|> and the model goes on.
    let goes_on = find("<|end|>").filter(|_| find("<|return|>").is_some() && find("<|call|>").is_some());
    let ends = named.iter().map(|&(id, _)| id).filter(|&id| Some(id) != goes_on).collect();
    WellKnown { ends, turn: turn.filter(|&id| Some(id) != goes_on) }
}
