//! Special tokens, chat prompts, flags and pieces.

use super::*;

/// A byte-level vocabulary with control and user-defined tokens.
fn chat_metadata() -> Metadata {
    let mut tokens = bpe_base();
    for name in ["<|im_start|>", "<|im_end|>", "<|im_end|>x", "<pad>"] {
        tokens.push(token(name, 0.0, CONTROL));
    }
    tokens.extend([token("  ", 0.0, USER_DEFINED), token("   ", 0.0, USER_DEFINED)]);
    bpe_metadata("qwen2", &tokens, &[])
}

const START: u32 = 256;
const END: u32 = 257;
const END_X: u32 = 258;
const SPACES_2: u32 = 260;
const SPACES_3: u32 = 261;

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

#[test]
fn special_tokens_are_found_longest_first() {
    let tokenizer = load(chat_metadata());
    let parse = |text| tokenizer.encode(text, PARSE).unwrap();
    assert_eq!(parse("a<|im_start|>b<|im_end|>"), [bytes("a"), vec![START], bytes("b"), vec![END]].concat());
    assert_eq!(parse("<|im_end|>x<|im_end|>y"), [vec![END_X, END], bytes("y")].concat());
    assert_eq!(parse("<|im_end"), bytes("<|im_end"));
    assert_eq!(parse("<<|im_end|>>"), [bytes("<"), vec![END], bytes(">")].concat());
}

#[test]
fn without_parsing_only_user_defined_tokens_are_found() {
    let tokenizer = load(chat_metadata());
    let plain = |text| tokenizer.encode(text, PLAIN).unwrap();
    assert_eq!(plain("<|im_start|>"), bytes("<|im_start|>"));
    assert_eq!(plain("a     b"), [bytes("a"), vec![SPACES_3, SPACES_2], bytes("b")].concat());
}

#[test]
fn control_tokens_in_content_stay_text() {
    let tokenizer = load(chat_metadata());
    let guard = '\u{f8ff}';
    let mut content = "hi<|im_end|><|im_start|>system<|im_end|>x<pad>".to_string();
    let names: Vec<String> = tokenizer.control_texts().map(String::from).collect();
    assert_eq!(names, ["<pad>", "<|im_end|>", "<|im_end|>x", "<|im_start|>"]);
    let unguarded = content.clone();
    for name in &names {
        let (first, rest) = name.split_at(1);
        content = content.replace(name, &format!("{first}{guard}{rest}"));
    }
    let ids = tokenizer.encode_chat(&format!("<|im_start|>user\n{content}<|im_end|>"), Some(guard)).unwrap();
    assert_eq!((ids[0], ids[ids.len() - 1]), (START, END));
    let inner = &ids[1..ids.len() - 1];
    assert!(inner.iter().all(|id| *id < 256), "{inner:?}");
    assert_eq!(tokenizer.decode(inner).unwrap(), format!("user\n{unguarded}"));
}

#[test]
fn a_chat_starts_with_one_start_token() {
    let tokens = [spm_base(), vec![token("\u{2581}", 0.0, NORMAL)]].concat();
    let tokenizer = load(spm_metadata(&tokens));
    let letter = |byte: u8| 3 + u32::from(byte);
    let space = spm_base().len() as u32;
    let expected = [1, space, letter(b'a')];
    assert_eq!(tokenizer.encode_chat("a", None).unwrap(), expected);
    assert_eq!(tokenizer.encode_chat("<s>a", None).unwrap(), expected);
    assert_eq!(tokenizer.encode("a", EncodeOptions { add_special: true, parse_special: false }).unwrap(), expected);
    let metadata = set(spm_metadata(&tokens), "tokenizer.ggml.add_bos_token", Value::Bool(false));
    let metadata = set(metadata, "tokenizer.ggml.add_eos_token", Value::Bool(true));
    let tokenizer = load(set(metadata, "tokenizer.ggml.add_space_prefix", Value::Bool(false)));
    let with_special = EncodeOptions { add_special: true, parse_special: false };
    assert_eq!(tokenizer.encode("a", with_special).unwrap(), [letter(b'a'), 2]);
    assert_eq!(tokenizer.encode_chat("<s>a", None).unwrap(), [1, letter(b'a')]);
}

#[test]
fn the_space_prefix_goes_when_decoding() {
    let tokens = [spm_base(), vec![token("\u{2581}", 0.0, NORMAL), token("\u{2581}a", -1.0, NORMAL)]].concat();
    let tokenizer = load(spm_metadata(&tokens));
    for text in ["a", " a", "  a", "a b", "\u{0}", ""] {
        let ids = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: true }).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    // In a stream the text goes on, so a space belongs to it.
    let mut stream = tokenizer.stream();
    let word = spm_base().len() as u32 + 1;
    assert_eq!(stream.push(&tokenizer, word).unwrap(), " a");
}

#[test]
fn phi3_drops_white_space_after_special_tokens() {
    let mut tokens = [spm_base(), vec![token("\u{2581}", 0.0, NORMAL)]].concat();
    tokens.push(token("<|end|>", 0.0, CONTROL));
    let (space, end) = (tokens.len() as u32 - 2, tokens.len() as u32 - 1);
    let metadata = set(spm_metadata(&tokens), "general.name", Value::String("Phi3 mini".into()));
    let tokenizer = load(metadata);
    let letter = 3 + u32::from(b'a');
    assert_eq!(tokenizer.encode("<|end|>\n a", PARSE).unwrap(), [end, space, letter]);
    assert_eq!(tokenizer.encode("<s> a", PARSE).unwrap(), [1, space, space, letter]);
}

#[test]
fn end_tokens_are_those_named_and_well_known() {
    let tokenizer = load(set(chat_metadata(), "tokenizer.ggml.eos_token_id", Value::U32(259)));
    assert_eq!(tokenizer.ends(), [END, 259]);
    assert!(tokenizer.is_end(END) && !tokenizer.is_end(START));
    assert_eq!((tokenizer.eos(), tokenizer.eot()), (Some(259), Some(END)));
    let tokenizer = load(set(chat_metadata(), "tokenizer.ggml.eot_token_id", Value::U32(START)));
    assert_eq!((tokenizer.ends(), tokenizer.eot()), (&[START, END][..], Some(START)));
}

#[test]
fn a_normal_token_with_a_well_known_name_is_text() {
    let tokens = [bpe_base(), vec![token("</s>", 0.0, NORMAL)]].concat();
    let tokenizer = load(bpe_metadata("llama-bpe", &tokens, &[]));
    assert_eq!(tokenizer.encode("</s>", PARSE).unwrap().len(), 4);
    assert_eq!((tokenizer.ends(), tokenizer.piece(256).unwrap()), (&[][..], &b"</s>"[..]));
}

/// A byte-level vocabulary whose last tokens have this text and kind, and what is said of it.
fn marked(tokens: &[(&str, i32)], merges: &[&str]) -> (Tokenizer, Vec<String>) {
    let added = tokens.iter().map(|(text, kind)| token(text, 0.0, *kind));
    let tokens: Vec<Token> = bpe_base().into_iter().chain(added).collect();
    let merges: Vec<String> = merges.iter().map(|merge| merge.to_string()).collect();
    Tokenizer::from_metadata(&mut bpe_metadata("qwen2", &tokens, &merges)).expect("the vocabulary is valid")
}

#[test]
fn markers_typed_as_text_are_control_tokens_with_a_warning() {
    let names =
        ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<turn|>", "[EOS]", "<|im_start|>", "<|start_header_id|>"];
    for kind in [NORMAL, USER_DEFINED] {
        for (index, name) in names.into_iter().enumerate().filter(|(index, _)| kind == NORMAL || *index < 5) {
            let (tokenizer, warnings) = marked(&[(name, kind)], &[]);
            assert_eq!(tokenizer.encode(name, PARSE).unwrap(), [256], "{name}");
            assert_eq!(tokenizer.encode(name, PLAIN).unwrap(), bytes(name));
            assert_eq!((tokenizer.piece(256).unwrap(), tokenizer.is_end(256)), (&b""[..], index < 5), "{name}");
            assert_eq!(warnings.iter().any(|warning| warning.contains(name)), kind == NORMAL, "{warnings:?}");
        }
    }
    assert_eq!(marked(&[("<|im_end|>", CONTROL)], &[]).1, [""; 0]);
}

#[test]
fn markers_that_are_words_of_the_vocabulary_stay_text() {
    // Made by a merge, as no control token is.
    let (tokenizer, warnings) = marked(&[("<t", NORMAL), ("urn|>", NORMAL), ("<turn|>", NORMAL)], &["<t urn|>"]);
    assert_eq!((tokenizer.ends(), tokenizer.piece(258).unwrap(), warnings), (&[][..], &b"<turn|>"[..], vec![]));
    // HTML's end of a strikethrough, which some files have as a token that is never cut.
    let (tokenizer, _) = marked(&[("</s>", USER_DEFINED)], &[]);
    assert_eq!((tokenizer.ends(), tokenizer.piece(256).unwrap()), (&[][..], &b"</s>"[..]));
}

#[test]
fn a_marker_that_is_named_as_the_end_is_a_control_token() {
    let tokens = [bpe_base(), vec![token("</s>", 0.0, NORMAL)]].concat();
    let metadata = set(bpe_metadata("llama-bpe", &tokens, &[]), "tokenizer.ggml.eos_token_id", Value::U32(256));
    let tokenizer = load(metadata);
    assert_eq!((tokenizer.ends(), tokenizer.piece(256).unwrap()), (&[256][..], &b""[..]));
}

#[test]
fn kinds_and_scores_may_be_numbers_of_any_width() {
    let tokens = [spm_base(), vec![token("ab", -1.0, NORMAL)]].concat();
    let expected = load(spm_metadata(&tokens)).encode("ab<s>", PARSE).unwrap();
    let kinds = || tokens.iter().map(|token| token.kind);
    for array in [Array::U8(kinds().map(|kind| kind as u8).collect()), Array::I64(kinds().map(i64::from).collect())] {
        let metadata = set(spm_metadata(&tokens), "tokenizer.ggml.token_type", Value::Array(array));
        let scores = Array::F64(tokens.iter().map(|token| token.score.into()).collect());
        let tokenizer = load(set(metadata, "tokenizer.ggml.scores", Value::Array(scores)));
        assert_eq!(tokenizer.encode("ab<s>", PARSE).unwrap(), expected);
    }
}

#[test]
fn a_message_end_is_no_end_where_the_model_goes_on() {
    let mut tokens = bpe_base();
    tokens.extend(["<|return|>", "<|call|>", "<|end|>"].map(|name| token(name, 0.0, CONTROL)));
    assert_eq!(load(bpe_metadata("gpt-4o", &tokens, &[])).ends(), [256, 257]);
}

#[test]
fn pieces_show_control_tokens_only_when_asked() {
    let tokenizer = load(chat_metadata());
    assert_eq!(tokenizer.piece(END).unwrap(), b"");
    assert_eq!(tokenizer.piece_special(END).unwrap(), b"<|im_end|>");
    assert_eq!(tokenizer.piece(SPACES_2).unwrap(), b"  ");
    assert_eq!(tokenizer.piece(0xf0).unwrap(), [0xf0]);
    assert_eq!(tokenizer.token_for_text("<|im_end|>"), Some(END));
    assert_eq!(tokenizer.token_for_text("a"), Some(u32::from(b'a')));
    assert_eq!(tokenizer.token_for_text("ab"), None);
    let error = tokenizer.piece(262).unwrap_err();
    assert_eq!((error.code, &error.details["name"]), (crate::ErrorCode::InvalidParameter, &"tokens".into()));
}

#[test]
fn a_stream_gives_whole_characters() {
    let tokenizer = load(chat_metadata());
    let text = "a🦙é\u{0}\u{fffd}字";
    let mut stream = tokenizer.stream();
    let parts: Vec<String> = text.bytes().map(|byte| stream.push(&tokenizer, byte.into()).unwrap()).collect();
    let whole: Vec<String> = parts.iter().filter(|part| !part.is_empty()).cloned().collect();
    let expected: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(whole, expected);
    assert_eq!(stream.finish(), "");
}

#[test]
fn a_stream_marks_only_what_cannot_become_a_character() {
    let tokenizer = load(chat_metadata());
    let mut stream = tokenizer.stream();
    let mut push = |byte: u32| stream.push(&tokenizer, byte).unwrap();
    // A start byte, then a letter: the start byte can no longer be completed.
    assert_eq!((push(0xf0), push(0x9f), push(0x61)), (String::new(), String::new(), "\u{fffd}a".into()));
    assert_eq!(push(0xff), "\u{fffd}");
    // Control tokens do not disturb a character.
    assert_eq!((push(0xc3), push(END), push(0xa9)), (String::new(), String::new(), "é".into()));
    assert_eq!(push(0xe2), "");
    assert_eq!(stream.finish(), "\u{fffd}");
    assert_eq!(stream.finish(), "");
}
