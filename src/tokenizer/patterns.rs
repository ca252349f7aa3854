//! The pre-tokenisers that vocabularies name: how text is cut into words before merging.
//!
//! The regular expressions are those of the models' own `tokenizer.json` files. As in llama.cpp, the
//! contractions `(?i:'s|'t|…)` ignore the case of ASCII letters only.

use super::class::Class::{self, Kinds, Ranges};
use super::class::kind::*;
use super::split::{MANY, Pattern, Step};

/// How a byte-level vocabulary is used.
#[derive(Clone, Copy, Debug)]
pub struct PreTokeniser {
    /// The patterns that cut the text, one after the other.
    pub passes: &'static [Pattern],
    /// Whether a word that is a token is taken whole, whatever the merges would make of it.
    pub whole_words: bool,
    /// Whether texts start with the start token if the file does not say.
    pub add_bos: bool,
}

impl PreTokeniser {
    /// The pre-tokeniser that files name so.
    pub fn by_name(name: &str) -> Option<PreTokeniser> {
        let passes: &[Pattern] = match name {
            "default" => DEFAULT,
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat" | "a.x-4.0"
            | "mellum" | "exaone4" => &[GPT_2],
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
            | "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" => &[LLAMA_3],
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "hunyuan" | "megrez" | "grok-2" | "solar-open" | "kormo" => {
                &[QWEN_2]
            }
            "qwen35" => &[QWEN_35],
            "minicpm5" => &[NUMBERS_OF_3, MINICPM_5],
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
                &[SINGLE_NUMBERS, GPT_2]
            }
            "tekken" => &[TEKKEN],
            "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => &[GPT_4O],
            "deepseek-llm" => DEEPSEEK_LLM,
            "deepseek-coder" => DEEPSEEK_CODER,
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => DEEPSEEK_V3,
            "falcon" => &[FALCON_PUNCTUATION, GPT_2, DIGITS_OF_3],
            "bailingmoe" | "bailingmoe2" | "llada-moe" => &[BAILING],
            "seed-coder" => &[SEED_CODER],
            _ => return None,
        };
        let llama = matches!(
            name,
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" | "tekken"
        );
        Some(PreTokeniser { passes, whole_words: llama || name == "minicpm5", add_bos: llama })
    }

    /// What stands in where the name is unknown or missing.
    pub fn fallback() -> PreTokeniser {
        PreTokeniser { passes: DEFAULT, whole_words: false, add_bos: false }
    }
}

const fn one(kinds: u32) -> Step {
    times(Kinds(kinds), 1, 1)
}

/// `[…]?`
const fn maybe(kinds: u32) -> Step {
    times(Kinds(kinds), 0, 1)
}

/// `[…]*`
const fn any(kinds: u32) -> Step {
    times(Kinds(kinds), 0, MANY)
}

/// `[…]+`
const fn some(kinds: u32) -> Step {
    times(Kinds(kinds), 1, MANY)
}

const fn times(class: Class, min: u32, max: u32) -> Step {
    Step::Run { class, min, max }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
const CONTRACTION: &[Step] = &[Step::Contraction { any_case: true }];
/// `[^\r\n\p{L}\p{N}]?\p{L}+`
const WORD: &[Step] = &[maybe(!(LINE_END | LETTER | NUMBER)), some(LETTER)];
/// `\p{N}`
const SINGLE_NUMBER: &[Step] = &[one(NUMBER)];
/// `\p{N}{1,3}`
const NUMBER_OF_3: &[Step] = &[times(Kinds(NUMBER), 1, 3)];
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*`
const SIGNS: &[Step] = &[maybe(SPACE), some(!(WHITE | LETTER | NUMBER)), any(LINE_END)];
/// ` ?[^\s\p{L}\p{N}]+[\r\n/]*`
const SIGNS_SLASH: &[Step] = &[maybe(SPACE), some(!(WHITE | LETTER | NUMBER)), any(LINE_END | SLASH)];
/// `\s*[\r\n]+`
const LINES: &[Step] = &[any(WHITE), some(LINE_END)];
/// `\s+(?!\S)`
const WHITE_BUT_ONE: &[Step] = &[some(WHITE), Step::NotBefore(Kinds(!WHITE))];
/// `\s+`
const ALL_WHITE: &[Step] = &[some(WHITE)];

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const GPT_2: Pattern = &[
    &[Step::Contraction { any_case: false }],
    &[maybe(SPACE), some(LETTER)],
    &[maybe(SPACE), some(NUMBER)],
    &[maybe(SPACE), some(!(WHITE | LETTER | NUMBER))],
    WHITE_BUT_ONE,
    ALL_WHITE,
];

const LLAMA_3: Pattern = &[CONTRACTION, WORD, NUMBER_OF_3, SIGNS, LINES, WHITE_BUT_ONE, ALL_WHITE];

const QWEN_2: Pattern = &[CONTRACTION, WORD, SINGLE_NUMBER, SIGNS, LINES, WHITE_BUT_ONE, ALL_WHITE];

/// Qwen 2's with marks among the letters.
const QWEN_35: Pattern = &[
    CONTRACTION,
    &[maybe(!(LINE_END | LETTER | NUMBER)), some(LETTER | MARK)],
    SINGLE_NUMBER,
    &[maybe(SPACE), some(!(WHITE | LETTER | MARK | NUMBER)), any(LINE_END)],
    LINES,
    WHITE_BUT_ONE,
    ALL_WHITE,
];

const MINICPM_5: Pattern = &[CONTRACTION, WORD, &[some(NUMBER)], SIGNS, LINES, WHITE_BUT_ONE, ALL_WHITE];

/// `'(?i:[sdmt]|ll|ve|re)|…|\s*[\r\n]|…`
const BAILING: Pattern =
    &[CONTRACTION, WORD, SINGLE_NUMBER, SIGNS, &[any(WHITE), one(LINE_END)], WHITE_BUT_ONE, ALL_WHITE];

const SEED_CODER: Pattern = &[
    CONTRACTION,
    WORD,
    SINGLE_NUMBER,
    &[maybe(SPACE), some(!(WHITE | LETTER | NUMBER))],
    LINES,
    WHITE_BUT_ONE,
    ALL_WHITE,
];

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const HEAD: u32 = UPPER | TITLE | MODIFIER | UNCASED | MARK;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const TAIL: u32 = LOWER | MODIFIER | UNCASED | MARK;
/// `[^\r\n\p{L}\p{N}]?`
const PREFIX: Step = maybe(!(LINE_END | LETTER | NUMBER));

/// Words are cut where a capital follows small letters.
const TEKKEN: Pattern = &[
    &[PREFIX, any(HEAD), some(TAIL)],
    &[PREFIX, some(HEAD), any(TAIL)],
    SINGLE_NUMBER,
    SIGNS_SLASH,
    LINES,
    WHITE_BUT_ONE,
    ALL_WHITE,
];

/// Like Tekken, with contractions that belong to their word.
const GPT_4O: Pattern = &[
    &[PREFIX, any(HEAD), some(TAIL), Step::MaybeContraction],
    &[PREFIX, some(HEAD), any(TAIL), Step::MaybeContraction],
    NUMBER_OF_3,
    SIGNS_SLASH,
    LINES,
    WHITE_BUT_ONE,
    ALL_WHITE,
];

const SINGLE_NUMBERS: Pattern = &[SINGLE_NUMBER];
const NUMBERS_OF_3: Pattern = &[NUMBER_OF_3];
/// `[0-9][0-9][0-9]`
const DIGITS_OF_3: Pattern = &[&[times(Kinds(DIGIT_ASCII), 3, 3)]];
/// ``[\p{P}$+<=>^~|`]+``
const FALCON_PUNCTUATION: Pattern = &[&[some(PUNCTUATION | SYMBOL_ASCII | GRAVE)]];

const DEFAULT: &[Pattern] = &[&[&[some(PUNCTUATION | SYMBOL_ASCII)]], GPT_2, &[&[some(NUMBER)]], DIGITS_OF_3];

/// `[\r\n]`
const LINE_ENDS: Pattern = &[&[one(LINE_END)]];
/// `\s?` before one of the DeepSeek patterns.
const MAYBE_WHITE: Step = maybe(WHITE);
/// `[一-龥ࠀ-一가-퟿]+`
const ASIAN: Pattern = &[&[times(Ranges(&[('\u{800}', '\u{9fa5}'), ('\u{ac00}', '\u{d7ff}')]), 1, MANY)]];

const DEEPSEEK_LLM: &[Pattern] = &[
    LINE_ENDS,
    &[&[MAYBE_WHITE, times(Ranges(CASED_LETTERS), 1, MANY)]],
    &[&[MAYBE_WHITE, times(Ranges(SIGN_RANGES), 1, MANY)]],
    &[&[some(WHITE), Step::End]],
    ASIAN,
    &[&[some(NUMBER)]],
];

const DEEPSEEK_CODER: &[Pattern] =
    &[LINE_ENDS, &[&[MAYBE_WHITE, some(LETTER)]], &[&[MAYBE_WHITE, some(PUNCTUATION)]], ASIAN, SINGLE_NUMBERS];

const DEEPSEEK_V3: &[Pattern] = &[
    NUMBERS_OF_3,
    &[&[times(Ranges(&[('\u{3040}', '\u{30ff}'), ('\u{4e00}', '\u{9fa5}')]), 1, MANY)]],
    &[
        &[one(SLASH | PUNCTUATION_ASCII | SYMBOL_ASCII | GRAVE), some(LETTER_ASCII)],
        &[maybe(!(LINE_END | LETTER | PUNCTUATION | SYMBOL)), some(LETTER | MARK)],
        &[maybe(SPACE), some(PUNCTUATION | SYMBOL), any(LINE_END)],
        LINES,
        WHITE_BUT_ONE,
        ALL_WHITE,
    ],
];

/// The signs that DeepSeek's pattern lists, letters between them included.
const SIGN_RANGES: &[(char, char)] = &[
    ('!', '/'),
    (':', '~'),
    ('\u{2018}', '\u{201f}'),
    ('\u{3000}', '\u{3002}'),
    ('\u{ff01}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff5e}'),
];

/// The letters with case that DeepSeek's pattern lists: fewer than Unicode has by now.
#[rustfmt::skip]
const CASED_LETTERS: &[(char, char)] = &[
    ('\u{41}', '\u{5a}'), ('\u{61}', '\u{7a}'), ('\u{b5}', '\u{b5}'), ('\u{c0}', '\u{d6}'), ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{1ba}'), ('\u{1bc}', '\u{1bf}'), ('\u{1c4}', '\u{293}'), ('\u{295}', '\u{2af}'),
    ('\u{370}', '\u{373}'), ('\u{376}', '\u{377}'), ('\u{37b}', '\u{37d}'), ('\u{37f}', '\u{37f}'),
    ('\u{386}', '\u{386}'), ('\u{388}', '\u{38a}'), ('\u{38c}', '\u{38c}'), ('\u{38e}', '\u{3a1}'),
    ('\u{3a3}', '\u{3f5}'), ('\u{3f7}', '\u{481}'), ('\u{48a}', '\u{52f}'), ('\u{531}', '\u{556}'),
    ('\u{10a0}', '\u{10c5}'), ('\u{13a0}', '\u{13f5}'), ('\u{13f8}', '\u{13fd}'), ('\u{1c90}', '\u{1cba}'),
    ('\u{1cbd}', '\u{1cbf}'), ('\u{1d00}', '\u{1d2b}'), ('\u{1d6b}', '\u{1d77}'), ('\u{1d79}', '\u{1d9a}'),
    ('\u{1e00}', '\u{1f15}'), ('\u{1f18}', '\u{1f1d}'), ('\u{1f20}', '\u{1f45}'), ('\u{1f48}', '\u{1f4d}'),
    ('\u{1f50}', '\u{1f57}'), ('\u{1f59}', '\u{1f59}'), ('\u{1f5b}', '\u{1f5b}'), ('\u{1f5d}', '\u{1f5d}'),
    ('\u{1f5f}', '\u{1f7d}'), ('\u{1f80}', '\u{1fb4}'), ('\u{1fb6}', '\u{1fbc}'), ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc2}', '\u{1fc4}'), ('\u{1fc6}', '\u{1fcc}'), ('\u{1fd0}', '\u{1fd3}'), ('\u{1fd6}', '\u{1fdb}'),
    ('\u{1fe0}', '\u{1fec}'), ('\u{1ff2}', '\u{1ff4}'), ('\u{1ff6}', '\u{1ffc}'), ('\u{2102}', '\u{2102}'),
    ('\u{2107}', '\u{2107}'), ('\u{210a}', '\u{2113}'), ('\u{2115}', '\u{2115}'), ('\u{2119}', '\u{211d}'),
    ('\u{2124}', '\u{2124}'), ('\u{2126}', '\u{2126}'), ('\u{2128}', '\u{2128}'), ('\u{212a}', '\u{212d}'),
    ('\u{212f}', '\u{2134}'), ('\u{2139}', '\u{2139}'), ('\u{213c}', '\u{213f}'), ('\u{2145}', '\u{2149}'),
    ('\u{214e}', '\u{214e}'), ('\u{2183}', '\u{2184}'), ('\u{2c00}', '\u{2c7b}'), ('\u{2c7e}', '\u{2ce4}'),
    ('\u{2ceb}', '\u{2cee}'), ('\u{2cf2}', '\u{2cf3}'), ('\u{a640}', '\u{a66d}'), ('\u{a680}', '\u{a69b}'),
    ('\u{a722}', '\u{a76f}'), ('\u{a771}', '\u{a787}'), ('\u{a78b}', '\u{a78e}'), ('\u{ab70}', '\u{abbf}'),
    ('\u{fb00}', '\u{fb06}'), ('\u{fb13}', '\u{fb17}'), ('\u{ff21}', '\u{ff3a}'), ('\u{ff41}', '\u{ff5a}'),
    ('\u{10400}', '\u{1044f}'), ('\u{104b0}', '\u{104d3}'), ('\u{104d8}', '\u{104fb}'), ('\u{10c80}', '\u{10cb2}'),
    ('\u{10cc0}', '\u{10cf2}'), ('\u{118a0}', '\u{118df}'), ('\u{1e900}', '\u{1e943}'),
];
