//! Vocabularies of encoders: WordPiece and Unigram. The ids are llama.cpp's, of the same vocabularies.

use super::*;
use crate::error::ErrorCode;

/// A text and its ids.
type Case = (&'static str, &'static [u32]);

/// Words as files have them: U+2581 before those that begin one.
const WORDS: &str = "\
    [PAD] [UNK] [CLS] [SEP] [MASK] ▁the ▁hello ▁hell hel ▁un ▁happy happy ness n e s ▁e ▁a a b ▁cafe ▁! ! ▁, ▁. \
    ▁- ▁$ ▁€ 5 ▁5 ▁中 ▁文 ▁か か ▁ᄀ ᄀ ▁ω ▁мир ▁ß ▁i ▁ı ▁ç ▁é ▁É É ▁H ▁ሀ ▁° ▁“ ▁… ▁= ▁^ ▁🙂 🙂 ▁[ ▁] ▁cls";

fn words(texts: &[&str]) -> Metadata {
    let is_named = |text: &str| text.len() > 2 && text.starts_with('[');
    let kinds = texts.iter().map(|text| token(text, 0.0, if is_named(text) { CONTROL } else { NORMAL }));
    let mut metadata = metadata("bert", &kinds.collect::<Vec<_>>());
    for (name, id) in [("bos", 2), ("seperator", 3), ("unknown", 1)] {
        metadata = set(metadata, &format!("tokenizer.ggml.{name}_token_id"), Value::U32(id));
    }
    metadata
}

fn word_metadata() -> Metadata {
    words(&WORDS.split(' ').collect::<Vec<_>>())
}

fn check(tokenizer: &Tokenizer, cases: &[Case]) {
    for (text, ids) in cases {
        assert_eq!(tokenizer.encode(text, PLAIN).unwrap(), *ids, "{text:?}");
    }
}

#[test]
fn words_become_the_longest_tokens_of_a_normalised_text() {
    check(
        &load(word_metadata()),
        &[
            ("hello", &[6]),
            ("Hello, the CAFÉ!", &[6, 23, 5, 20, 21]),
            ("unhappyness", &[9, 11, 12]),
            ("unhappyness unhappyz", &[9, 11, 12, 1]),
            ("hello中文hello", &[6, 30, 31, 6]),
            ("café cafe\u{301} CAFE\u{301}", &[20, 20, 20]),
            ("가가 가", &[34, 35, 34]),
            ("が か\u{3099}", &[32, 32]),
            ("Ω Ω", &[36, 36]),
            ("мир Мир", &[37, 37]),
            ("ß İ I ı", &[38, 39, 39, 40]),
            ("5$5€5", &[29, 26, 1]),
            ("a.b-a=a^a", &[17, 24, 1, 25, 17, 50, 17, 51, 17]),
            ("“hello”…", &[48, 6, 1, 49]),
            ("🙂🙂", &[52, 53]),
            ("[CLS] hello [SEP]", &[54, 56, 55, 6, 54, 1, 55]),
            ("a\u{200b}b a\u{ad}b", &[17, 19, 17, 19]),
            ("a\u{0}b a�b", &[17, 19, 17, 19]),
            ("a\u{a0}a\u{3000}a\u{2028}a\n\ta", &[17, 17, 17, 17, 17]),
            ("\u{1f}a\u{7f}b\u{85}a", &[17, 19, 17]),
            ("a\u{378}", &[1]),
            ("a\u{e000}b", &[17, 19]),
            ("\u{301}", &[]),
            ("a\u{903}a a\u{20dd}a", &[17, 18, 17, 18]),
            ("▁hello a▁a", &[1, 17, 17]),
            ("zzz", &[1]),
            (" ", &[]),
            ("", &[]),
            ("É é", &[16, 16]),
            ("H h", &[1, 1]),
        ],
    );
}

#[test]
fn case_and_accents_stay_where_a_file_says_so() {
    let cased = set(word_metadata(), "tokenizer.ggml.normalizer.lowercase", Value::Bool(false));
    check(
        &load(cased),
        &[
            ("Hello, the CAFÉ!", &[1, 23, 5, 1, 21]),
            ("café cafe\u{301} CAFE\u{301}", &[1, 1, 1]),
            ("가가 가", &[1, 1]),
            ("が か\u{3099}", &[1, 1]),
            ("Ω Ω", &[1, 1]),
            ("мир Мир", &[37, 1]),
            ("ß İ I ı", &[38, 1, 1, 40]),
            ("[CLS] hello [SEP]", &[54, 1, 55, 6, 54, 1, 55]),
            ("\u{301}", &[1]),
            ("a\u{903}a a\u{20dd}a", &[1, 1]),
            ("É é", &[43, 42]),
            ("H h", &[45, 1]),
        ],
    );
    let accented = set(word_metadata(), "tokenizer.ggml.normalizer.strip_accents", Value::Bool(false));
    check(&load(accented), &[("É é", &[42, 42]), ("H", &[1])]);
}

#[test]
fn words_stand_between_their_marks_and_come_back_as_text() {
    let tokenizer = load(word_metadata());
    let special = EncodeOptions { add_special: true, parse_special: true };
    assert_eq!(tokenizer.encode("hello [MASK]", special).unwrap(), [2, 6, 4, 3]);
    assert_eq!(tokenizer.encode("", special).unwrap(), [2, 3]);
    assert_eq!(tokenizer.encode_pair("hello", "the [SEP]").unwrap(), [2, 6, 3, 5, 54, 1, 55, 3]);
    assert_eq!(tokenizer.decode(&[2, 6, 22, 5, 20, 3]).unwrap(), "hello! the cafe");
    // Without their ids in the file they have those of the first BERT.
    let mut texts = vec!["x"; 103];
    texts[6] = "\u{2581}hello";
    let plain = metadata("bert", &texts.iter().map(|text| token(text, 0.0, NORMAL)).collect::<Vec<_>>());
    assert_eq!(load(plain).encode("hello ?", special).unwrap(), [101, 6, 100, 102]);
}

/// Tokens with their scores; the names, kinds and rules for characters that llama.cpp was asked with.
const PIECES: &[(&str, f32, i32)] = &[
    ("<s>", 0.0, 3),
    ("<pad>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("<unk>", 0.0, 2),
    ("▁", -3.0, 1),
    ("▁hello", -4.0, 1),
    ("▁hell", -4.5, 1),
    ("o", -3.5, 1),
    ("hel", -5.0, 1),
    ("lo", -4.0, 1),
    ("▁a", -3.2, 1),
    ("a", -3.0, 1),
    ("b", -3.1, 1),
    ("ab", -6.5, 1),
    ("▁ab", -7.0, 1),
    ("é", -4.0, 1),
    ("!", -3.9, 1),
    (".", -4.0, 1),
    ("...", -4.2, 1),
    ("1", -5.0, 1),
    ("/", -5.0, 1),
    ("2", -5.0, 1),
    ("1/2", -9.0, 1),
    ("h", -6.0, 1),
    ("e", -6.0, 1),
    ("l", -6.0, 1),
    ("你好", -5.0, 1),
    ("你", -5.5, 1),
    ("▁un", -1.0, 5),
    ("<mask>", 0.0, 3),
];

/// What SentencePiece compiles of: `ａ` a, `ｂ` b, `½` 1/2, `…` ..., U+A0, tab, line feed and U+3000 a space, U+200B
/// nothing, e U+301 é, e U+301 U+301 é!.
fn charsmap() -> Vec<u8> {
    let digits = include_str!("charsmap.txt").trim().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn piece_metadata(merges: bool, prefix: bool, map: Option<Vec<u8>>) -> Metadata {
    let tokens: Vec<Token> = PIECES.iter().map(|(text, score, kind)| token(text, *score, *kind)).collect();
    let scores = tokens.iter().map(|token| token.score).collect();
    let mut metadata = metadata("t5", &tokens);
    for (name, value) in [
        ("scores", Value::Array(Array::F32(scores))),
        ("bos_token_id", Value::U32(0)),
        ("eos_token_id", Value::U32(2)),
        ("seperator_token_id", Value::U32(2)),
        ("unknown_token_id", Value::U32(3)),
        ("add_bos_token", Value::Bool(true)),
        ("add_eos_token", Value::Bool(true)),
        ("add_space_prefix", Value::Bool(prefix)),
        ("remove_extra_whitespaces", Value::Bool(merges)),
    ] {
        metadata = set(metadata, &format!("tokenizer.ggml.{name}"), value);
    }
    match map {
        Some(map) => set(metadata, "tokenizer.ggml.precompiled_charsmap", Value::Array(Array::U8(map))),
        None => metadata,
    }
}

#[test]
fn pieces_are_the_likeliest_of_a_normalised_text() {
    check(
        &load(piece_metadata(true, true, Some(charsmap()))),
        &[
            ("hello", &[5]),
            ("  hello   hello ", &[5, 5]),
            ("ab a b", &[10, 12, 10, 4, 12]),
            ("ａｂ ½…", &[10, 12, 4, 22, 18]),
            ("he\u{301} e\u{301}\u{301} e\u{301}\u{301}\u{301}", &[4, 23, 15, 4, 15, 16, 4, 15, 16, 3]),
            ("a\u{a0}\ta\u{3000}\na", &[10, 10, 10]),
            ("hello\u{200b}a", &[5, 11]),
            ("xyz a xyz", &[4, 3, 10, 4, 3]),
            ("你好你 🙂🙂a", &[4, 26, 27, 4, 3, 11]),
            ("▁hello a▁a", &[4, 5, 10, 10]),
            ("unun un", &[28, 3, 28]),
            ("<s> a </s>", &[4, 3, 10, 4, 3, 20, 3]),
            ("", &[]),
            ("   ", &[]),
            ("helloab", &[5, 11, 12]),
            ("1/2 12", &[4, 22, 4, 19, 21]),
            ("\u{301}", &[4, 3]),
            ("x\u{0}a", &[4, 3, 11]),
        ],
    );
}

#[test]
fn spaces_stay_apart_where_a_file_says_so() {
    check(
        &load(piece_metadata(false, true, Some(charsmap()))),
        &[
            ("hello", &[5]),
            ("  hello   hello ", &[4, 4, 5, 4, 4, 5, 4]),
            ("ab a b", &[10, 12, 10, 4, 12]),
            ("ａｂ ½…", &[10, 12, 4, 22, 18]),
            ("he\u{301} e\u{301}\u{301} e\u{301}\u{301}\u{301}", &[4, 23, 15, 4, 15, 16, 4, 15, 16, 3]),
            ("a\u{a0}\ta\u{3000}\na", &[10, 4, 10, 4, 10]),
            ("hello\u{200b}a", &[5, 11]),
            ("xyz a xyz", &[4, 3, 10, 4, 3]),
            ("你好你 🙂🙂a", &[4, 26, 27, 4, 3, 11]),
            ("▁hello a▁a", &[4, 5, 10, 10]),
            ("unun un", &[28, 3, 28]),
            ("<s> a </s>", &[4, 3, 10, 4, 3, 20, 3]),
            ("", &[]),
            ("   ", &[4, 4, 4]),
            ("helloab", &[5, 11, 12]),
            ("1/2 12", &[4, 22, 4, 19, 21]),
            ("\u{301}", &[4, 3]),
            ("x\u{0}a", &[4, 3, 11]),
        ],
    );
}

#[test]
fn a_vocabulary_without_rules_takes_text_as_it_is() {
    check(
        &load(piece_metadata(false, false, None)),
        &[
            ("hello", &[8, 9]),
            ("  hello   hello ", &[4, 5, 4, 4, 5, 4]),
            ("ab a b", &[11, 12, 10, 4, 12]),
            ("ａｂ ½…", &[3, 4, 3]),
            ("he\u{301} e\u{301}\u{301} e\u{301}\u{301}\u{301}", &[23, 24, 3, 4, 24, 3, 4, 24, 3]),
            ("a\u{a0}\ta\u{3000}\na", &[11, 3, 11, 3, 11]),
            ("hello\u{200b}a", &[8, 9, 3, 11]),
            ("xyz a xyz", &[3, 10, 4, 3]),
            ("你好你 🙂🙂a", &[26, 27, 4, 3, 11]),
            ("▁hello a▁a", &[5, 10, 10]),
            ("unun un", &[3, 28]),
            ("<s> a </s>", &[3, 10, 4, 3, 20, 3]),
            ("", &[]),
            ("   ", &[4, 4, 4]),
            ("helloab", &[8, 9, 11, 12]),
            ("1/2 12", &[22, 4, 19, 21]),
            ("\u{301}", &[3]),
            ("x\u{0}a", &[3, 11]),
        ],
    );
}

#[test]
fn pieces_stand_between_their_marks_and_come_back_as_text() {
    let tokenizer = load(piece_metadata(true, true, None));
    let special = EncodeOptions { add_special: true, parse_special: true };
    assert_eq!(tokenizer.encode("hello<mask>", special).unwrap(), [0, 5, 29, 2]);
    assert_eq!(tokenizer.encode_pair("hello", "a").unwrap(), [0, 5, 2, 10, 2]);
    assert_eq!(tokenizer.decode(&[0, 5, 10, 12, 2]).unwrap(), "hello ab");
    let apart = set(piece_metadata(true, true, None), "tokenizer.ggml.add_sep_token", Value::Bool(true));
    assert_eq!(load(apart).encode_pair("hello", "a").unwrap(), [0, 5, 2, 2, 10, 2]);
}

/// Whatever the bytes of the rules are, a text becomes tokens or the file is refused.
#[test]
fn damaged_rules_are_refused_or_do_no_harm() {
    let whole = charsmap();
    let mut numbers = Numbers(3);
    for _ in 0..5_000 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            bytes[at] = numbers.next() as u8;
        }
        bytes.truncate(whole.len() - numbers.below(2) * numbers.below(whole.len()));
        match Tokenizer::from_metadata(&mut piece_metadata(true, true, Some(bytes))) {
            Ok((tokenizer, _)) => {
                let text = numbers.text(&["ａ", "½", "e\u{301}", " ", "hello", "\u{a0}", "🙂"], 8);
                let ids = tokenizer.encode(&text, PLAIN).unwrap();
                assert!(ids.iter().all(|id| (*id as usize) < PIECES.len()));
            }
            Err(error) => assert_eq!(error.code, ErrorCode::InvalidModel),
        }
    }
}
