//! Equality with llama.cpp on real vocabularies.

use super::*;
use crate::gguf::{Header, Parser, Progress};
use std::path::Path;

fn header(path: &Path) -> Header {
    let bytes = std::fs::read(path).unwrap();
    let mut parser = Parser::new(Some(bytes.len() as u64));
    assert!(matches!(parser.feed(&bytes).unwrap(), Progress::Done { .. }));
    parser.finish().unwrap()
}

/// The texts of a vocabulary and the ids that llama.cpp gives them.
fn cases(folder: &Path, name: &str) -> Vec<(String, Vec<u32>)> {
    let read = |extension: &str| std::fs::read_to_string(folder.join(format!("{name}.{extension}"))).unwrap();
    let inputs = read("inp");
    let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
    let (last, inputs) = inputs.split_last().unwrap();
    assert_eq!(*last, "");
    let outputs = read("out");
    let ids = |line: &str| line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let outputs: Vec<Vec<u32>> = outputs.lines().map(ids).collect();
    assert_eq!(inputs.len(), outputs.len());
    inputs.iter().map(|text| text.to_string()).zip(outputs).collect()
}

#[test]
fn every_line_of_the_reference_vocabularies_is_equal() {
    let Some(folder) = crate::gguf::testing::reference_data().map(|folder| folder.join("vocab")) else { return };
    for name in ["llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2"] {
        let mut metadata = header(&folder.join(format!("{name}.gguf"))).metadata;
        let (tokenizer, warnings) = Tokenizer::from_metadata(&mut metadata).unwrap();
        assert_eq!(warnings, Vec::<String>::new(), "{name}");
        for (text, expected) in cases(&folder, name) {
            let ids = tokenizer.encode(&text, PLAIN).unwrap();
            assert_eq!(ids, expected, "{name} {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}");
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|&id| stream.push(&tokenizer, id).unwrap()).collect();
            streamed += &stream.finish();
            assert_eq!(streamed.strip_prefix(' ').filter(|_| tokenizer.space_prefix).unwrap_or(&streamed), text);
        }
    }
}

#[test]
fn the_greedy_text_of_a_real_model_is_equal() {
    let Some(folder) = crate::gguf::testing::reference_data().map(|folder| folder.join("real")) else { return };
    let tokenizer = load(header(&folder.join("stories260k.gguf")).metadata);
    let json = std::fs::read_to_string(folder.join("stories260k.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let ids = |key: &str| -> Vec<u32> { serde_json::from_value(json[key].clone()).unwrap() };
    let with_special = EncodeOptions { add_special: true, parse_special: true };
    assert_eq!(tokenizer.encode("Once upon a time", with_special).unwrap(), ids("tokens"));
    let mut stream = tokenizer.stream();
    let text: String = ids("greedy").iter().map(|&id| stream.push(&tokenizer, id).unwrap()).collect();
    assert_eq!(text + &stream.finish(), json["greedy_text"].as_str().unwrap());
}

#[test]
fn special_tokens_of_real_vocabularies() {
    let Some(folder) = crate::gguf::testing::reference_data().map(|folder| folder.join("vocab")) else { return };
    let load_named = |name: &str| load(header(&folder.join(format!("{name}.gguf"))).metadata);
    let llama = load_named("llama-bpe");
    assert_eq!((llama.bos(), llama.eos(), llama.eot()), (Some(128000), Some(128001), Some(128009)));
    assert_eq!(llama.ends(), [128001, 128009]);
    assert_eq!(llama.encode_chat("<|begin_of_text|>hi", None).unwrap(), [128000, 6151]);
    let qwen = load_named("qwen2");
    assert_eq!((qwen.ends(), qwen.add_bos()), (&[151643, 151645][..], false));
    assert_eq!(qwen.encode_chat("<|im_start|>\n<|im_end|>", None).unwrap(), [151644, 198, 151645]);
    assert_eq!(load_named("llama-spm").ends(), [2]);
    assert_eq!(load_named("phi-3").ends(), [2, 32000, 32007]);
}

/// The vocabularies of an optional folder, named by an environment variable, with texts and ids beside them in the form
/// of the reference data.
#[test]
fn vocabularies_of_a_folder() {
    let Some(folder) = std::env::var_os("CHORD_REFERENCE_VOCABULARIES").map(std::path::PathBuf::from) else {
        return println!("skipped: CHORD_REFERENCE_VOCABULARIES names no folder");
    };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".gguf")) else { continue };
        let name = Path::new(name).file_name().unwrap().to_str().unwrap();
        let tokenizer = load(header(&path).metadata);
        let cases = cases(&folder, name);
        for (text, expected) in &cases {
            assert_eq!(tokenizer.encode(text, PLAIN).unwrap(), *expected, "{name} {text:?}");
        }
        println!("{name}: {} texts", cases.len());
    }
}
