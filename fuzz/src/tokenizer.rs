//! Tokenisers: texts of all kinds through sound vocabularies, and vocabularies that are not sound.

use crate::allocation::within;
use crate::mutate::{Field, change_bytes, change_text};
use crate::runner::Target;
use fastrand::Rng;
use wasm_chord::ErrorCode;
use wasm_chord::gguf::testing::Writer;
use wasm_chord::gguf::{Array, Parser};
use wasm_chord::tokenizer::{EncodeOptions, Tokenizer};

/// Pre-tokenisers that differ.
const PRE_TOKENISERS: [&str; 14] = [
    "default",
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "smollm",
    "tekken",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "gpt-4o",
    "qwen35",
    "bailingmoe",
    "seed-coder",
];

/// The first byte of an input whose rest is a header with a vocabulary.
const HEADER: u8 = 255;

/// Texts to change.
const TEXTS: [&str; 10] = [
    "Hello, world! It's 3.14159 o'clock; I'LL go to the café at 12:30.",
    "   three spaces,\ttabs\n\n\nand  lines \r\n end ",
    "漢字かな交じり文、한국어 ภาษาไทย हिन्दी עברית العربية",
    "🙂👩‍👩‍👧‍👦🇩🇪 e\u{301}\u{301} \u{200b}\u{feff}\u{0}",
    "<|im_start|>user\nhello<|im_end|><s></s><unk><0x41>",
    "fn main() { let x = 0xff_u8; } // ---- ==== \\n /* */ $%^&*()",
    "hello hello hellohello helloworld aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "0123456789 12 123 1234 12345 ١٢٣ ⅷ ²³",
    "I've you're he'd she'll 'S 'T ''' \"\" ``",
    "",
];

/// Words that changes put in.
const WORDS: [&str; 26] = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "hello",
    " world",
    "'s",
    "'LL",
    "<|im_start|>",
    "<|im_",
    "</s>",
    "<0x00>",
    "▁",
    "▁▁",
    "\u{a0}",
    "\u{3000}",
    "é",
    "e\u{301}",
    "漢",
    "🙂",
    "\u{10ffff}",
    "1",
    "123456789",
    "aaaaaaaaaaaaaaaa",
    "\u{85}",
];

/// A vocabulary and what holds for it.
struct Vocabulary {
    tokenizer: Tokenizer,
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// Every byte is a token and spaces are not written as another character.
    exact: bool,
}

pub struct Tokenizers {
    vocabularies: Vec<Vocabulary>,
}

impl Tokenizers {
    pub fn new() -> Tokenizers {
        let bpe = PRE_TOKENISERS.map(|pre| vocabulary(byte_pairs(pre), true));
        let spm = [true, false].map(|prefix| vocabulary(pieces(prefix), false));
        Tokenizers { vocabularies: bpe.into_iter().chain(spm).chain([vocabulary(few_pieces(), false)]).collect() }
    }

    /// Those that look for whole tokens in place of merging. Each takes its share of the inputs.
    pub fn of_whole_tokens() -> Tokenizers {
        let exact = [(escapes(), true), (plain(), false), (likeliest(false), false), (likeliest(true), false)];
        let words = [true, false].map(|lowercase| vocabulary(words(lowercase), false));
        let exact = exact.map(|(writer, exact)| vocabulary(writer, exact));
        Tokenizers { vocabularies: exact.into_iter().chain(words).collect() }
    }
}

impl Target for Tokenizers {
    fn generate(&self, random: &mut Rng) -> Vec<u8> {
        let number = random.usize(..self.vocabularies.len());
        if random.u8(..8) == 0 {
            let Vocabulary { bytes, fields, .. } = &self.vocabularies[number];
            let mut input = bytes.clone();
            let donor = random.usize(..self.vocabularies.len());
            change_bytes(random, &mut input, fields, &self.vocabularies[donor].bytes);
            input.insert(0, HEADER);
            return input;
        }
        let mut text = TEXTS[random.usize(..TEXTS.len())].to_string();
        let donor = TEXTS[random.usize(..TEXTS.len())];
        change_text(random, &mut text, &WORDS, donor);
        text.insert(0, char::from(number as u8));
        text.into_bytes()
    }

    fn run(&self, input: &[u8], random: &mut Rng) -> bool {
        match input.split_first() {
            Some((&HEADER, header)) => run_header(header),
            Some((&number, text)) => {
                let text = str::from_utf8(text).expect("changes keep text UTF-8");
                let vocabulary = &self.vocabularies[usize::from(number)];
                let bytes_max = 400 * text.len() + (64 << 10);
                within(bytes_max, || check_text(vocabulary, text, random.bool()));
                true
            }
            None => false,
        }
    }
}

/// Reads a tokeniser from a header that may be wrong in any way, and uses it.
fn run_header(header: &[u8]) -> bool {
    let mut parser = Parser::new(None);
    let Ok(()) = parser.feed(header).map(drop) else { return false };
    let Ok(mut header_parsed) = parser.finish() else { return false };
    let read = within(64 * header.len() + (1 << 20), || Tokenizer::from_metadata(&mut header_parsed.metadata));
    match read {
        Ok((tokenizer, _)) => {
            for text in ["hello world<|im_end|>", " é漢\n\n 12'LL", "▁a"] {
                use_unsound(&tokenizer, text);
            }
            true
        }
        Err(error) => {
            assert_eq!(error.code, ErrorCode::InvalidModel, "{error}");
            false
        }
    }
}

/// Uses a tokeniser of which nothing is known: nothing may break.
fn use_unsound(tokenizer: &Tokenizer, text: &str) {
    let size = tokenizer.vocabulary_size() as u32;
    let specials = [tokenizer.bos(), tokenizer.eos(), tokenizer.eot()];
    assert!(specials.iter().flatten().chain(tokenizer.ends()).all(|&id| id < size), "a special token beyond {size}");
    for parse_special in [false, true] {
        match tokenizer.encode(text, EncodeOptions { add_special: true, parse_special }) {
            Ok(ids) => {
                assert!(ids.iter().all(|&id| id < size), "{ids:?} beyond {size}");
                tokenizer.decode(&ids).expect("tokens of an encoding can be decoded");
            }
            Err(error) => assert_eq!(error.code, ErrorCode::InvalidParameter, "{error}"),
        }
    }
    let _ = tokenizer.encode_chat(text, Some('o'));
    let controls = tokenizer.control_texts().count();
    assert!(controls <= size as usize);
    let mut stream = tokenizer.stream();
    for id in (0..size.min(300)).chain([size]) {
        assert_eq!(stream.push(tokenizer, id).is_err(), id >= size && tokenizer.has_text());
    }
    stream.finish();
}

/// What holds for every text in a sound vocabulary.
fn check_text(vocabulary: &Vocabulary, text: &str, parse_special: bool) {
    let tokenizer = &vocabulary.tokenizer;
    let ids = tokenizer.encode(text, EncodeOptions { add_special: false, parse_special }).expect("a sound vocabulary");
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
    let mut stream = tokenizer.stream();
    let pushed: String = ids.iter().map(|&id| stream.push(tokenizer, id).expect("an id of the vocabulary")).collect();
    let streamed = pushed + &stream.finish();
    if !parse_special {
        // Token 0 stands for text that a vocabulary without bytes does not know.
        let hidden = |id: &&u32| **id > 0 && tokenizer.piece(**id).is_ok_and(<[u8]>::is_empty);
        assert_eq!(ids.iter().find(hidden), None, "text became a control token");
    }
    if vocabulary.exact && !parse_special {
        assert_eq!(streamed, text);
        assert_eq!(tokenizer.decode(&ids).expect("ids of the vocabulary"), text);
    }
    let chat = tokenizer.encode_chat(text, Some('\u{e000}')).expect("a sound vocabulary");
    assert!(chat.len() <= text.len() + 2);
}

/// Reads a sound vocabulary.
fn vocabulary(writer: Writer, exact: bool) -> Vocabulary {
    let bytes = writer.header();
    let mut parser = Parser::new(None);
    parser.feed(&bytes).expect("a sound header");
    let mut header = parser.finish().expect("a sound header");
    let (tokenizer, _) = Tokenizer::from_metadata(&mut header.metadata).expect("a sound vocabulary");
    Vocabulary { tokenizer, fields: crate::gguf::fields(&bytes), bytes, exact }
}

/// The character that stands for a byte in the files of byte-level BPE: itself if it prints, else
/// the next one from U+0100 on.
fn byte_character(byte: u8) -> char {
    let prints = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if prints(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !prints(other)).count() as u32;
    char::from_u32(256 + before).expect("a character below U+0200")
}

/// Byte-level BPE with every byte, some merges and control tokens.
fn byte_pairs(pre: &str) -> Writer {
    let merges = [
        "h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "a a", "aa aa", "Ġ Ġ", "Ċ Ċ", "1 2",
        "12 3", "' s", "ð Ł", "Ã ©", "Ġ hello",
    ];
    let bytes = (0..=255u8).map(|byte| byte_character(byte).to_string());
    let merged = merges.iter().map(|pair| pair.replace(' ', ""));
    let controls = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"].map(String::from);
    let tokens: Vec<String> = bytes.chain(merged).chain(controls).collect();
    let mut kinds = vec![1i32; tokens.len()];
    kinds[tokens.len() - 4..].fill(3);
    let end = tokens.len() as u32 - 3;
    Writer::new()
        .pair("tokenizer.ggml.model", "gpt2")
        .pair("tokenizer.ggml.pre", pre)
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
        .pair("tokenizer.ggml.merges", Array::String(merges.iter().collect()))
        .pair("tokenizer.ggml.bos_token_id", end + 1)
        .pair("tokenizer.ggml.eos_token_id", end)
        .pair("tokenizer.ggml.add_bos_token", true)
}

/// SentencePiece with bytes and some pieces; the longer ones score higher.
fn pieces(space_prefix: bool) -> Writer {
    let specials = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    let words = [
        "▁", "h", "e", "l", "o", "w", "r", "d", "a", "he", "ll", "hell", "hello", "▁hello", "▁w", "or", "▁wor", "ld",
        "▁world", "▁▁", "aa", "aaaa", "é", "漢", "🙂",
    ];
    let tokens: Vec<String> = specials.chain(bytes).chain(words.map(String::from)).collect();
    let kinds = (0..tokens.len()).map(|id| [2, 3, 3, 6, 1][id.min(3) + usize::from(id >= 259)]).collect();
    let scores = tokens.iter().map(|token| token.len() as f32 - 100.0).collect();
    Writer::new()
        .pair("tokenizer.ggml.model", "llama")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.scores", Array::F32(scores))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
        .pair("tokenizer.ggml.add_space_prefix", space_prefix)
}

/// A tiny SentencePiece vocabulary without bytes, so that most text is unknown.
fn few_pieces() -> Writer {
    let tokens = ["<unk>", "<s>", "</s>", "▁", "a", "▁a", "aa", "<user>"];
    Writer::new()
        .pair("tokenizer.ggml.model", "llama")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.scores", Array::F32(vec![0.0, 0.0, 0.0, -1.0, -2.0, -3.0, f32::NAN, 0.0]))
        .pair("tokenizer.ggml.token_type", Array::I32(vec![2, 3, 3, 1, 1, 1, 1, 4]))
}

/// Words of vocabularies that look for whole tokens, which share beginnings and ends.
const WHOLE: [&str; 20] = [
    "h", "e", "l", "o", "he", "hell", "hello", " hello", " world", "world", "or", "1", "123", "a", "aa", "aaaa", "é",
    "漢", "漢字", "🙂",
];

/// RWKV's: a control token, every byte, and some words.
fn escapes() -> Writer {
    let bytes = (0..=255u8).map(|byte| format!("\\x{byte:02x}"));
    let words = WHOLE.iter().filter(|word| word.len() > 1).map(|word| word.to_string());
    let tokens: Vec<String> = ["<s>".to_string()].into_iter().chain(bytes).chain(words).collect();
    let kinds = (0..tokens.len()).map(|id| if id == 0 { 3 } else { 1 }).collect();
    Writer::new()
        .pair("tokenizer.ggml.model", "rwkv")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
}

/// PLaMo 2's: control tokens, every byte, and some words, one of which is never taken.
fn plain() -> Writer {
    let specials = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    let tokens: Vec<String> = specials.chain(bytes).chain(WHOLE.map(String::from)).collect();
    let kinds = (0..tokens.len()).map(|id| [2, 3, 3, 6, 1][id.min(3) + usize::from(id >= 259)]).collect();
    let score = |(id, token): (usize, &String)| if id == 270 { f32::NAN } else { -(token.len() as f32).sqrt() };
    Writer::new()
        .pair("tokenizer.ggml.model", "plamo2")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.scores", Array::F32(tokens.iter().enumerate().map(score).collect()))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
}

/// A unigram vocabulary, which merges spaces or keeps them.
fn likeliest(merges: bool) -> Writer {
    let specials = ["<unk>", "<s>", "</s>", "▁"].map(String::from).into_iter();
    let words = WHOLE.iter().map(|word| word.replace(' ', "▁"));
    let tokens: Vec<String> = specials.chain(words).chain(["<user>".to_string()]).collect();
    let last = tokens.len() - 1;
    let kinds = (0..tokens.len()).map(|id| [2, 3, 3, 1, 4][id.min(3) + usize::from(id == last)]).collect();
    let scores = tokens.iter().map(|token| -(token.len() as f32).sqrt()).collect();
    Writer::new()
        .pair("tokenizer.ggml.model", "t5")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.scores", Array::F32(scores))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
        .pair("tokenizer.ggml.unknown_token_id", 0u32)
        .pair("tokenizer.ggml.add_space_prefix", merges)
        .pair("tokenizer.ggml.remove_extra_whitespaces", merges)
}

/// BERT's: words, and what they go on with.
fn words(lowercase: bool) -> Writer {
    let specials = ["[UNK]", "[CLS]", "[SEP]"].map(String::from).into_iter();
    let begun = WHOLE.iter().map(|word| format!("▁{}", word.trim()));
    let tokens: Vec<String> = specials.chain(begun).chain(WHOLE.map(|word| word.trim().to_string())).collect();
    let kinds = (0..tokens.len()).map(|id| [2, 3, 3, 1][id.min(3)]).collect();
    Writer::new()
        .pair("tokenizer.ggml.model", "bert")
        .pair("tokenizer.ggml.tokens", Array::String(tokens.iter().collect()))
        .pair("tokenizer.ggml.token_type", Array::I32(kinds))
        .pair("tokenizer.ggml.unknown_token_id", 0u32)
        .pair("tokenizer.ggml.bos_token_id", 1u32)
        .pair("tokenizer.ggml.seperator_token_id", 2u32)
        .pair("tokenizer.ggml.normalizer.lowercase", lowercase)
}
