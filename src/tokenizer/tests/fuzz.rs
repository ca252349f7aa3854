//! Random texts, ids and metadata: nothing panics, and what can come back does.

use super::*;

const PARTS: &[&str] = &[
    "a",
    "b",
    "the",
    " ",
    "  ",
    "\n",
    "\u{2581}",
    "1",
    "99",
    "é",
    "字",
    "🦙",
    "\u{1f3fd}",
    "\u{0}",
    "\u{fffd}",
    "\u{10ffff}",
    "<s>",
    "</s>",
    "<unk>",
    "<0x41>",
    "<|im_end|>",
    "'s",
    "\u{301}",
    "\u{feff}",
    "\r\n",
];

#[test]
fn texts_come_back() {
    let mut numbers = Numbers(5);
    let mut bytes = bpe_base();
    bytes.push(token("<|im_end|>", 0.0, CONTROL));
    bytes.extend(["th", "the", "\u{120}the"].map(|text| token(text, 0.0, NORMAL)));
    let merges = ["t h", "th e", "\u{120} the"].map(String::from);
    let scored = [spm_base(), vec![token("\u{2581}", 0.0, NORMAL), token("\u{2581}a", -1.0, NORMAL)]].concat();
    for tokenizer in [load(bpe_metadata("llama-bpe", &bytes, &merges)), load(spm_metadata(&scored))] {
        for _ in 0..3000 {
            let text = numbers.text(PARTS, 20);
            let ids = tokenizer.encode(&text, PLAIN).unwrap();
            // In an SPM vocabulary U+2581 is the space.
            let expected = if tokenizer.space_prefix { text.replace('\u{2581}', " ") } else { text.clone() };
            assert_eq!(tokenizer.decode(&ids).unwrap(), expected);
            tokenizer.encode_chat(&text, Some('a')).unwrap();
        }
    }
}

#[test]
fn streams_give_the_same_text_as_decoding() {
    let mut numbers = Numbers(6);
    let tokenizer = load(bpe_metadata("gpt-2", &bpe_base(), &[]));
    for _ in 0..3000 {
        let ids: Vec<u32> =
            (0..numbers.below(12)).map(|_| numbers.pick(&[0x61, 0x80, 0xc3, 0xe2, 0xf0, 0x9f, 0xed, 0xff])).collect();
        let mut stream = tokenizer.stream();
        let streamed: String = ids.iter().map(|&id| stream.push(&tokenizer, id).unwrap()).collect();
        assert_eq!(streamed + &stream.finish(), tokenizer.decode(&ids).unwrap(), "{ids:?}");
    }
}

/// A random value that a hostile file might hold.
fn value(numbers: &mut Numbers) -> Value {
    let length = numbers.below(6);
    match numbers.below(9) {
        0 => Value::U32(numbers.pick(&[0, 1, 5, 300, u32::MAX])),
        1 => Value::I64(numbers.pick(&[-1, 0, 3, i64::MIN, i64::MAX])),
        2 => Value::Bool(numbers.below(2) == 1),
        3 => Value::String(numbers.pick(&["llama", "gpt2", "qwen2", "phi-3", "", "test", "bert", "t5"]).into()),
        4 => Value::Array(Array::F32(
            (0..length).map(|_| numbers.pick(&[0.0, -0.0, f32::NAN, f32::INFINITY, -1.5])).collect(),
        )),
        5 => Value::Array(Array::I32(
            (0..length).map(|_| numbers.pick(&[-1, 0, 1, 2, 3, 4, 5, 6, 7, i32::MAX])).collect(),
        )),
        6 => Value::F32(f32::NAN),
        _ => strings(&(0..length).map(|_| numbers.pick(PARTS)).collect::<Vec<_>>()),
    }
}

#[test]
fn hostile_metadata_never_panics() {
    let keys = [
        "model",
        "pre",
        "tokens",
        "scores",
        "token_type",
        "merges",
        "bos_token_id",
        "eos_token_id",
        "unknown_token_id",
        "seperator_token_id",
        "precompiled_charsmap",
    ];
    let mut numbers = Numbers(7);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut metadata = match numbers.below(2) {
            0 => spm_metadata(&[token("<unk>", 0.0, UNKNOWN), token("a", 0.0, NORMAL), token("</s>", 0.0, CONTROL)]),
            _ => bpe_metadata("qwen2", &[token("a", 0.0, NORMAL), token("aa", 0.0, USER_DEFINED)], &["a a".into()]),
        };
        for _ in 0..=numbers.below(3) {
            let key = format!("tokenizer.ggml.{}", numbers.pick(&keys));
            metadata = set(metadata, &key, value(&mut numbers));
        }
        if let Ok((tokenizer, _)) = Tokenizer::from_metadata(&mut metadata) {
            accepted += 1;
            let text = numbers.text(PARTS, 8);
            for id in tokenizer.encode(&text, PARSE).unwrap_or_default() {
                tokenizer.piece_special(id).unwrap();
            }
        }
    }
    assert!(accepted > 1000);
}
