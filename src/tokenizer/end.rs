//! Tokens known by their names: those that end a generation, and those that begin and part the turns of
//! a chat.
//!
//! Files name one or two of them; models use more. Like llama.cpp, tokens with well-known names count
//! too, whatever kind the file says they are: converters often write them as text, and then they would
//! neither be found in a prompt nor kept from the person.

use super::vocabulary::Kind;
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
    "<|flush|>",
    "<|calls|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<eos>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "[e~[",
    "<end_of_utterance>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    // Between the parts of a code-completion prompt, where the completion is over.
    "<|fim_pad|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// The name of such a token that is ordinary text in other vocabularies, a tag of HTML there, and the name of its
/// counterpart: it ends a generation where one of the two is a control token.
const TAG_NAMES: [&[u8]; 2] = [b"</s>", b"<s>"];

/// Names of tokens that begin or part the turns of a chat.
const TURN_PART_NAMES: &[&str] = &[
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<bos>",
    "<\u{ff5c}begin\u{2581}of\u{2581}sentence\u{ff5c}>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|im_start|>",
    "<|im_sep|>",
    "<|im_system|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_middle|>",
    "<start_of_turn>",
    "<|turn>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<\u{ff5c}User\u{ff5c}>",
    "<\u{ff5c}Assistant\u{ff5c}>",
    "[INST]",
    "[/INST]",
];

/// Names of tokens that end a turn, the first that a vocabulary has first.
const TURN_NAMES: &[&str] =
    &["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<turn|>", "<|END_OF_TURN_TOKEN|>", "<|endoftext|>"];

/// Tokens with well-known names.
#[derive(Default)]
pub struct WellKnown {
    /// Those that end a generation, in order of id.
    pub ends: Vec<u32>,
    /// The one that ends a turn.
    pub turn: Option<u32>,
    /// Those that are control tokens though the file has them as text, in order of id.
    pub mistyped: Vec<u32>,
}

/// Looks for well-known names among the tokens of a file. `kind` tells what the file says of a token, and
/// `is_word` whether text turns into a token by merging, which makes it a word like others.
pub fn well_known(
    tokens: &StringArray,
    kind: impl Fn(u32) -> Option<Kind>,
    is_word: impl Fn(&[u8]) -> bool,
) -> WellKnown {
    let is_in = |names: &[&str], token: &[u8]| names.iter().any(|name| name.as_bytes() == token);
    let mut ends: Vec<(u32, &[u8])> = Vec::new();
    let mut mistyped = Vec::new();
    let end_tag = TAG_NAMES[0];
    let has_tags = (0..).zip(tokens.iter()).any(|(id, token)| {
        TAG_NAMES.contains(&token) && matches!(kind(id), None | Some(Kind::Control | Kind::Unknown))
    });
    let starting = |token: &&[u8]| matches!(token.first(), Some(b'<' | b'[' | b'_'));
    for (id, token) in (0..).zip(tokens.iter()).filter(|(_, token)| starting(token)) {
        let kind = kind(id);
        let is_text = kind == Some(Kind::Normal);
        let is_named = is_in(END_NAMES, token) || (has_tags && token == end_tag);
        let is_end = is_named && !(is_text && is_word(token));
        if is_end {
            ends.push((id, token));
        }
        if is_text && (is_end || is_in(TURN_PART_NAMES, token) && !is_word(token)) {
            mistyped.push(id);
        }
    }
    let find = |name: &str| ends.iter().find(|(_, token)| *token == name.as_bytes()).map(|&(id, _)| id);
    let has_all = |names: [&str; 2]| names.iter().all(|name| find(name).is_some());
    // In the formats that return and call, a message ends with <|end|> and the model goes on.
    let is_passed = has_all(["<|return|>", "<|call|>"]) || has_all(["<|flush|>", "<|calls|>"]);
    let goes_on = find("<|end|>").filter(|_| is_passed);
    let turn = TURN_NAMES.iter().find_map(|name| find(name)).filter(|&id| Some(id) != goes_on);
    let ends = ends.iter().map(|&(id, _)| id).filter(|&id| Some(id) != goes_on).collect();
    WellKnown { ends, turn, mistyped }
}

/// Whether a token that the file names by id, as its start or end, looks like a marker rather than like text.
pub fn is_marker(token: &[u8]) -> bool {
    matches!(token, [b'<', .., b'>'] | [b'[', .., b']'])
}
