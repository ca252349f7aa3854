//! Small files from real reports, each with one peculiarity. Numbers are those of the reference data.

mod support;

use serde_json::json;
use support::*;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::tokenizer::EncodeOptions;

/// The file of a case, opened; `None` where there is no reference data.
fn case(name: &str) -> Option<(Engine, Vec<u8>)> {
    let file = std::fs::read(reference_data()?.join("cases").join(name)).expect("the case's file");
    Some((open(&file, &OpenOptions::default()).expect("the model opens"), file))
}

#[test]
fn case_21_turn_markers_typed_as_text_are_control_tokens() {
    let Some((mut engine, file)) = case("21-end-of-turn-typed-normal.gguf") else { return };
    let warnings = engine.info()["warnings"].to_string();
    assert!(warnings.contains("<start_of_turn>, <end_of_turn>"), "{warnings}");
    let options = EncodeOptions { add_special: false, parse_special: true };
    let ids = engine.tokenizer().encode("<start_of_turn>user", options).expect("tokens");
    assert_eq!(ids[0], 512);
    let body = json!({"kind": "chat", "messages": [{"role": "user", "content": "hi"}], "temperature": 0,
        "logit_bias": {"513": 100}, "max_tokens": 8});
    let answer = ask(&mut engine, &file, body).expect("an answer");
    assert_eq!((answer.texts, answer.reasons), (vec![String::new()], vec!["Stop".to_string()]));
}

#[test]
fn case_25_a_description_that_is_not_utf8_is_a_warning() {
    let Some((engine, _)) = case("25-description-not-utf8.gguf") else { return };
    let warnings = engine.info()["warnings"].to_string();
    assert!(warnings.contains("general.description"), "{warnings}");
    assert_eq!(engine.info()["metadata"]["general.description"], "caf\u{fffd}\u{fffd}");
    assert_eq!(engine.info()["metadata"]["general.author"], "xxxxxxxxx");
}
