//! The patterns of pre-tokenisers against a regular-expression engine.

use super::super::patterns::PreTokeniser;
use super::super::split::split;
use super::*;
use fancy_regex::Regex;

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const CONTRACTION: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const HEAD: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
const TAIL: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";

/// The expressions of a pre-tokeniser, as model files and llama.cpp have them.
fn expressions(name: &str) -> Vec<String> {
    let contraction_word = format!(r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+");
    let rest = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let slash = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let prefix = r"[^\r\n\p{L}\p{N}]?";
    match name {
        "default" => [r"[\p{P}\$\+<=>\^~\|]+", GPT_2, r"\p{N}+", "[0-9][0-9][0-9]"].map(String::from).to_vec(),
        "gpt-2" => vec![GPT_2.into()],
        "smollm" => vec![r"\p{N}".into(), GPT_2.into()],
        "falcon" => [r"[\p{P}\$\+<=>\^~\|`]+", GPT_2, "[0-9][0-9][0-9]"].map(String::from).to_vec(),
        "llama-bpe" => vec![format!(r"{contraction_word}|\p{{N}}{{1,3}}|{rest}")],
        "qwen2" => vec![format!(r"{contraction_word}|\p{{N}}|{rest}")],
        "qwen35" => vec![format!(
            r"{CONTRACTION}|{prefix}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
        "minicpm5" => vec![r"\p{N}{1,3}".into(), format!(r"{contraction_word}|\p{{N}}+|{rest}")],
        "bailingmoe" => {
            vec![format!(r"{contraction_word}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")]
        }
        "seed-coder" => {
            vec![format!(r"{contraction_word}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")]
        }
        "tekken" => vec![format!(r"{prefix}{HEAD}*{TAIL}+|{prefix}{HEAD}+{TAIL}*|\p{{N}}|{slash}")],
        "gpt-4o" => vec![format!(
            r"{prefix}{HEAD}*{TAIL}+{CONTRACTION}?|{prefix}{HEAD}+{TAIL}*{CONTRACTION}?|\p{{N}}{{1,3}}|{slash}"
        )],
        "deepseek-llm" => [
            r"[\r\n]",
            // The letters with case, of which the tests use only old ones.
            r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            "[一-龥ࠀ-一가-\u{d7ff}]+",
            r"\p{N}+",
        ]
        .map(String::from)
        .to_vec(),
        "deepseek-coder" => [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{d7ff}]+", r"\p{N}"].map(String::from).to_vec(),
        "deepseek-v3" => [
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ]
        .map(String::from)
        .to_vec(),
        _ => panic!("no expressions for {name}"),
    }
}

const NAMES: &[&str] = &[
    "default",
    "gpt-2",
    "smollm",
    "falcon",
    "llama-bpe",
    "qwen2",
    "qwen35",
    "minicpm5",
    "bailingmoe",
    "seed-coder",
    "tekken",
    "gpt-4o",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
];

/// Names that stand for the same pre-tokeniser as another.
const ALIASES: &[(&str, &str)] = &[
    ("llama3", "llama-bpe"),
    ("llama-v3", "llama-bpe"),
    ("falcon3", "llama-bpe"),
    ("pixtral", "llama-bpe"),
    ("deepseek-r1-qwen", "qwen2"),
    ("starcoder", "smollm"),
    ("refact", "smollm"),
    ("command-r", "smollm"),
    ("mpt", "gpt-2"),
    ("llama4", "gpt-4o"),
];

/// Characters and sequences at which the patterns differ.
const PARTS: &[&str] = &[
    " ", " ", "  ", "\t", "\n", "\r", "\u{a0}", "\u{3000}", "\u{85}", "a", "b", "Zz", "É", "ß", "ǅ", "ʰ", "字", "あ",
    "カ", "한", "ا", "\u{301}", "\u{20dd}", "1", "22", "4567", "٣", "Ⅻ", "²", ".", ",", "/", "//", "-", "_", "(", "“",
    "。", "¿", "$", "+", "<", "=", "^", "~", "|", "`", "€", "☃", "🦙", "\u{0}", "\u{200d}", "\u{e000}", "'", "'s",
    "'S", "'ll", "'Re", "'ve", "’s", "don't",
];

fn cut_by_engine(text: &str, expressions: &[Regex]) -> Vec<String> {
    let Some((expression, rest)) = expressions.split_first() else { return vec![text.into()] };
    let (mut parts, mut start) = (Vec::new(), 0);
    for found in expression.find_iter(text).map(|found| found.unwrap()) {
        parts.extend([&text[start..found.start()], found.as_str()]);
        start = found.end();
    }
    parts.push(&text[start..]);
    parts.into_iter().filter(|part| !part.is_empty()).flat_map(|part| cut_by_engine(part, rest)).collect()
}

fn cut(text: &str, name: &str) -> Vec<String> {
    let mut parts = Vec::new();
    split(text, PreTokeniser::by_name(name).unwrap().passes, &mut |part: &str| parts.push(part.to_string()));
    parts
}

#[test]
fn patterns_cut_like_their_expressions() {
    let mut numbers = Numbers(3);
    let texts: Vec<String> = (0..3000).map(|_| numbers.text(PARTS, 14)).filter(|text| !text.is_empty()).collect();
    for name in NAMES {
        let compile = |expression: &String| Regex::new(expression).unwrap();
        let expressions: Vec<Regex> = expressions(name).iter().map(compile).collect();
        for text in &texts {
            assert_eq!(cut(text, name), cut_by_engine(text, &expressions), "{name} {text:?}");
        }
    }
}

#[test]
fn aliases_cut_alike() {
    let mut numbers = Numbers(4);
    let texts: Vec<String> = (0..200).map(|_| numbers.text(PARTS, 14)).filter(|text| !text.is_empty()).collect();
    for (alias, name) in ALIASES {
        assert!(texts.iter().all(|text| cut(text, alias) == cut(text, name)), "{alias}");
    }
}

#[test]
fn words_are_taken_whole_where_the_model_does() {
    let tokens = [bpe_base(), vec![token("abc", 0.0, NORMAL)]].concat();
    for (pre, whole, bos) in [("llama-bpe", true, true), ("tekken", true, true), ("qwen2", false, false)] {
        let metadata = set(bpe_metadata(pre, &tokens, &[]), "tokenizer.ggml.bos_token_id", Value::U32(0));
        let tokenizer = load(metadata);
        assert_eq!(tokenizer.encode("abc", PLAIN).unwrap().len(), if whole { 1 } else { 3 }, "{pre}");
        assert_eq!(tokenizer.add_bos(), bos, "{pre}");
    }
}

/// If the time were quadratic, this test would take an hour.
#[test]
fn long_runs_are_cut_in_linear_time() {
    let count = 1 << 16;
    for part in [" ", "\n", "a", "A", "1", ".", "字", "\u{301}", "\u{0}", "'", " \n", "aA"] {
        for end in ["", "☃", "x", "'s"] {
            let text = part.repeat(count) + end;
            for name in NAMES {
                let mut length = 0;
                split(&text, PreTokeniser::by_name(name).unwrap().passes, &mut |part: &str| length += part.len());
                assert_eq!(length, text.len(), "{name} {part:?}");
            }
        }
    }
}
