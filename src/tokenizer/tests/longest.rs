//! The vocabulary of RWKV. The ids are llama.cpp's, of the same vocabulary.

use super::*;

/// A control token, the 256 bytes, and some words, as files write them; then tokens that are never used.
fn rwkv_metadata() -> Metadata {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\' && byte != b'\'';
    let byte = |byte: u8| match byte {
        b'\t' => "\\t".into(),
        b'\n' => "\\n".into(),
        b'\r' => "\\r".into(),
        b'\\' => "\\\\".into(),
        b'\'' => "\\'".into(),
        _ if plain(byte) => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    let words = [
        "hello",
        "hell",
        "he",
        " the",
        " th",
        "the",
        "\\n\\n",
        "\\r\\n",
        "  ",
        "    ",
        "\\xe4\\xb8\\xad",
        "\\xe4\\xb8\\xad\\xe6\\x96\\x87",
        "\\xf0\\x9f",
        "\\xf0\\x9f\\x99\\x82",
        "\\x82 ",
        "0",
        "00",
        "000",
        "User:",
    ];
    let mut tokens = vec![token("<s>", 0.0, CONTROL)];
    tokens.extend((0..=255).map(|value| token(&byte(value), 0.0, NORMAL)));
    tokens.extend(words.into_iter().filter(|word| *word != "0").map(|word| token(word, 0.0, NORMAL)));
    tokens.push(token("[PAD0]", 0.0, 5));
    metadata("rwkv", &tokens)
}

#[test]
fn text_becomes_the_longest_tokens_from_left_to_right() {
    let tokenizer = load(rwkv_metadata());
    let cases: &[(&str, &[u32])] = &[
        ("", &[]),
        ("hello hell hel", &[257, 33, 258, 33, 259, 109]),
        ("the the th thx", &[262, 260, 261, 261, 121]),
        ("\n\n\n\r\n\t", &[263, 11, 264, 10]),
        ("     the", &[266, 260]),
        ("中文中漢", &[268, 267, 231, 189, 163]),
        ("🙂🙃 é", &[270, 269, 154, 132, 33, 196, 170]),
        ("00000", &[273, 272]),
        ("User: \\x41 'q'", &[274, 33, 93, 121, 53, 50, 33, 40, 114, 40]),
    ];
    for (text, ids) in cases {
        assert_eq!(tokenizer.encode(text, PARSE).unwrap(), *ids, "{text:?}");
        assert_eq!(tokenizer.decode(ids).unwrap(), *text);
    }
    // What is never used is text, which llama.cpp would find.
    assert_eq!(tokenizer.encode("[PAD0]", PARSE).unwrap(), [92, 81, 66, 69, 49, 94]);
    // Control tokens are found by name where that is asked for, and what is typed is text.
    assert_eq!(tokenizer.encode("a<s>", PARSE).unwrap(), [98, 0]);
    assert_eq!(tokenizer.encode("a<s>", PLAIN).unwrap(), [98, 61, 116, 63]);
}

#[test]
fn text_of_one_character_is_no_slower_than_others() {
    let tokenizer = load(rwkv_metadata());
    let ids = tokenizer.encode(&" ".repeat(1 << 20), PLAIN).unwrap();
    assert_eq!(ids.len(), 1 << 18);
}
