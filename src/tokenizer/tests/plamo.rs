//! The vocabulary of PLaMo 2. The ids are llama.cpp's, of the same vocabulary.

use super::*;

/// Three control tokens, the 256 bytes, and some words: one that has no score, one whose score is too low to be taken.
fn plamo_metadata() -> Metadata {
    let words = [
        ("hello", -3.0),
        ("hell", -2.0),
        ("he", -1.5),
        ("h", -6.0),
        ("e", -5.0),
        ("l", -5.0),
        ("o", -5.5),
        (" ", -4.0),
        (" the", -2.5),
        ("the", -3.5),
        ("  ", -3.0),
        ("\n", -4.0),
        ("日", -6.0),
        ("本", -6.0),
        ("日本", -3.0),
        ("日本語", -20.0),
        ("語", -5.0),
        ("ab", -1.0),
        ("bc", -1.0),
        ("a", -2.0),
        ("c", -2.0),
        ("abc", f32::NAN),
        ("x", -2000.0),
        ("🙂", -9.0),
        ("aa", -4.0),
        ("to", -7.25),
    ];
    let mut tokens = vec![token("<unk>", 0.0, UNKNOWN), token("<s>", 0.0, CONTROL), token("</s>", 0.0, CONTROL)];
    tokens.extend((0..256).map(|byte| token(&format!("<0x{byte:02X}>"), 0.0, BYTE)));
    tokens.extend(words.map(|(word, score)| token(word, score, NORMAL)));
    let scores = tokens.iter().map(|token| token.score).collect();
    set(metadata("plamo2", &tokens), "tokenizer.ggml.scores", Value::Array(Array::F32(scores)))
}

#[test]
fn text_becomes_the_likeliest_tokens_and_bytes() {
    let tokenizer = load(plamo_metadata());
    let cases: &[(&str, &[u32])] = &[
        ("", &[]),
        ("hello hell hel", &[259, 266, 260, 266, 261, 264]),
        ("the  the   the", &[268, 269, 268, 269, 267]),
        ("日本語日本本日", &[273, 275, 273, 272, 271]),
        ("abcab bc aaa aaaa", &[276, 279, 276, 266, 277, 266, 283, 278, 266, 283, 283]),
        ("x xx", &[123, 266, 123, 123]),
        ("z é 漢 🙃", &[125, 266, 198, 172, 266, 233, 191, 165, 266, 243, 162, 156, 134]),
        ("🙂🙂", &[282, 282]),
        ("a\u{feff}b", &[278, 242, 190, 194, 101]),
        ("to\n\n\tto", &[284, 270, 270, 12, 284]),
        ("   ", &[269, 266]),
        (
            "\u{80}\u{7ff}\u{800}\u{ffff}\u{10ffff}",
            &[197, 131, 226, 194, 227, 163, 131, 242, 194, 194, 247, 146, 194, 194],
        ),
    ];
    for (text, ids) in cases {
        assert_eq!(tokenizer.encode(text, PARSE).unwrap(), *ids, "{text:?}");
        assert_eq!(tokenizer.decode(ids).unwrap(), *text);
    }
    // A mark of the byte order is no part of a text.
    assert_eq!(tokenizer.encode("\u{feff}hello", PLAIN).unwrap(), [259]);
    // Control tokens are found by name where that is asked for, and what is typed is text.
    assert_eq!(tokenizer.encode("a<s>", PARSE).unwrap(), [278, 1]);
    assert_eq!(tokenizer.encode("a<s>", PLAIN).unwrap(), [278, 63, 118, 65]);
}

#[test]
fn text_of_one_character_is_no_slower_than_others() {
    let tokenizer = load(plamo_metadata());
    assert_eq!(tokenizer.encode(&" ".repeat(1 << 20), PLAIN).unwrap().len(), 1 << 19);
}
