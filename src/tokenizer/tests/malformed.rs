//! Vocabularies that contradict themselves.

use super::*;
use crate::error::ErrorCode;

fn code(mut metadata: Metadata) -> ErrorCode {
    Tokenizer::from_metadata(&mut metadata).expect_err("the vocabulary must be refused").code
}

fn warnings(mut metadata: Metadata) -> (Tokenizer, Vec<String>) {
    Tokenizer::from_metadata(&mut metadata).expect("the vocabulary must be accepted")
}

fn small() -> Metadata {
    spm_metadata(&spm_base())
}

#[test]
fn arrays_of_other_lengths_or_types_are_refused() {
    let scores = "tokenizer.ggml.scores";
    let types = "tokenizer.ggml.token_type";
    for (key, value) in [
        (scores, Value::Array(Array::F32(vec![0.0; 258]))),
        (scores, Value::Array(Array::F32(vec![0.0; 260]))),
        (scores, strings(&["0"; 259])),
        (scores, Value::F32(0.0)),
        (types, Value::Array(Array::I32(vec![1; 258]))),
        (types, Value::Array(Array::I32(vec![]))),
        (types, Value::Array(Array::F32(vec![1.0; 259]))),
        ("tokenizer.ggml.tokens", Value::Array(Array::I32(vec![1; 259]))),
        ("tokenizer.ggml.tokens", Value::U32(1)),
        ("tokenizer.ggml.tokens", strings::<&str>(&[])),
        ("tokenizer.ggml.model", Value::U32(1)),
        ("tokenizer.ggml.add_bos_token", Value::U32(1)),
        ("tokenizer.ggml.bos_token_id", Value::String("1".into())),
    ] {
        let shown = format!("{key} {value:?}");
        assert_eq!(code(set(small(), key, value)), ErrorCode::InvalidModel, "{shown:.100}");
    }
}

#[test]
fn byte_tokens_must_name_a_byte() {
    for name in ["<0x-1>", "<0x100>", "<0x1>", "<0x>", "<0xGG>", "0x01", "", "<0x+1>"] {
        let mut tokens = spm_base();
        tokens[4].text = name.into();
        assert_eq!(code(spm_metadata(&tokens)), ErrorCode::InvalidModel, "{name}");
    }
    let mut tokens = spm_base();
    tokens[3 + 0xab].text = "<0xab>".into();
    assert_eq!(load(spm_metadata(&tokens)).piece(3 + 0xab).unwrap(), [0xab]);
}

#[test]
fn merges_are_needed_and_must_be_strings() {
    let metadata = bpe_metadata("gpt-2", &bpe_base(), &[]);
    let key = "tokenizer.ggml.merges";
    assert_eq!(code(set(metadata.clone(), key, Value::Array(Array::U8(vec![1])))), ErrorCode::InvalidModel);
    let without = Metadata::from_iter(
        metadata.iter().filter(|(name, _)| *name != key).map(|(name, value)| (name.into(), value.clone())),
    );
    assert_eq!(code(without), ErrorCode::InvalidModel);
}

#[test]
fn merges_of_no_use_are_counted() {
    let merges = ["a b", "ab", " ", "", "a  b", "\u{3042} b", "a b c"].map(String::from);
    let tokens = [bpe_base(), vec![token("ab", 0.0, NORMAL)]].concat();
    let (tokenizer, warnings) = warnings(bpe_metadata("gpt-2", &tokens, &merges));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("6 of 7 merges"), "{}", warnings[0]);
    assert_eq!(tokenizer.encode("ab", PLAIN).unwrap(), [256]);
}

#[test]
fn special_ids_beyond_the_vocabulary_are_ignored_with_a_warning() {
    let (tokenizer, found) = warnings(set(small(), "tokenizer.ggml.eos_token_id", Value::U32(259)));
    assert_eq!((tokenizer.eos(), found.len()), (Some(2), 1));
    let (tokenizer, found) = warnings(set(small(), "tokenizer.ggml.bos_token_id", Value::U32(u32::MAX)));
    assert_eq!((tokenizer.bos(), found.len()), (Some(1), 0));
    let (tokenizer, found) = warnings(set(small(), "tokenizer.ggml.eot_token_id", Value::I32(-1)));
    assert_eq!((tokenizer.eot(), found.len()), (None, 0));
}

#[test]
fn default_ids_beyond_the_vocabulary_are_none() {
    let (tokenizer, found) = warnings(spm_metadata(&[token("a", 0.0, NORMAL)]));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, None));
    assert!(!tokenizer.add_bos());
    assert_eq!(found.len(), 1, "{found:?}");
    // The only unknown token is token 0, and there are no byte tokens.
    assert_eq!(tokenizer.encode("ab", PLAIN).unwrap(), [0, 0, 0]);
}

#[test]
fn an_unknown_pre_tokeniser_is_the_default_with_a_warning() {
    let (tokenizer, found) = warnings(bpe_metadata("no-such", &bpe_base(), &[]));
    assert!(found.len() == 1 && found[0].contains("no-such"), "{found:?}");
    assert_eq!(tokenizer.encode("a", PLAIN).unwrap(), [u32::from(b'a')]);
    let (_, found) = warnings(bpe_metadata("default", &bpe_base(), &[]));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn vocabularies_without_text_take_ids() {
    for (model, warned) in [("test", 0), ("none", 0), ("no_vocab", 0), ("unheard-of", 1)] {
        let (tokenizer, found) = warnings(metadata(model, &[token("tok_0", 0.0, NORMAL), token("tok_1", 0.0, NORMAL)]));
        assert_eq!((tokenizer.has_text(), tokenizer.vocabulary_size(), found.len()), (false, 2, warned));
        let error = tokenizer.encode("a", PLAIN).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidParameter);
        assert!(error.message.contains("token ids"), "{}", error.message);
        assert!(tokenizer.encode_chat("a", None).is_err());
        assert_eq!((tokenizer.decode(&[0, 1]).unwrap(), tokenizer.piece_special(1).unwrap()), (String::new(), &[][..]));
    }
    let (tokenizer, _) = warnings(Metadata::default());
    assert_eq!((tokenizer.has_text(), tokenizer.vocabulary_size()), (false, 0));
}

#[test]
fn the_big_arrays_are_taken_out() {
    let mut metadata = bpe_metadata("gpt-2", &bpe_base(), &["a b".into()]);
    Tokenizer::from_metadata(&mut metadata).unwrap();
    assert!(!metadata.contains("tokenizer.ggml.tokens") && !metadata.contains("tokenizer.ggml.merges"));
}

#[test]
fn tokens_need_not_be_utf8_or_written_in_the_alphabet() {
    let mut texts: Vec<Vec<u8>> = bpe_base().into_iter().map(|token| token.text.into_bytes()).collect();
    texts.extend([vec![0xff, 0xfe], "字".into(), Vec::new()]);
    let metadata = set(bpe_metadata("gpt-2", &bpe_base(), &[]), "tokenizer.ggml.tokens", strings(&texts));
    let metadata = set(metadata, "tokenizer.ggml.token_type", Value::Array(Array::I32(vec![NORMAL; 259])));
    let tokenizer = load(metadata);
    assert_eq!(tokenizer.piece(256).unwrap(), [0xff, 0xfe]);
    assert_eq!(tokenizer.decode(&[257, 258, 256]).unwrap(), "字\u{fffd}\u{fffd}");
    assert_eq!(tokenizer.encode("字", PLAIN).unwrap(), "字".bytes().map(u32::from).collect::<Vec<_>>());
}
