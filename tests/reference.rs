//! Logits and greedy text against llama.cpp's, natively. The browser tests do the same in both wasm builds.

mod support;

use serde_json::{Value, json};
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::quant::Dtype;

fn tolerance(format: &str) -> f64 {
    let table: Value = serde_json::from_str(include_str!("tolerances.json")).expect("valid JSON");
    table[format].as_f64().unwrap_or_else(|| panic!("no tolerance for {format}"))
}

/// Margins under which another sum of the same numbers may choose another token.
const MARGIN_MIN: f64 = 1e-3;

/// Compares the tokens that follow the prompt greedily, as far as each is far enough ahead of the next likely one.
fn check_greedy(engine: &mut Engine, file: &[u8], json: &Value) -> Result<(), String> {
    let (truth, margins) = (ids(&json["greedy"]), json["greedy_margin"].as_array().expect("margins"));
    let is_clear = |margin: &Value| margin.as_f64().is_some_and(|margin| margin > MARGIN_MIN);
    let clear = margins.iter().take_while(|margin| is_clear(margin)).count();
    let body = json!({"kind": "completion", "prompt": json["tokens"], "temperature": 0, "max_tokens": truth.len(), "logprobs": 0, "ignore_eos": true});
    let answer = match ask(engine, file, body) {
        // Nothing follows a text that a model fills in as a whole.
        Err(error) if error.code == ErrorCode::UnsupportedArchitecture => return Ok(()),
        answer => answer.map_err(|e| e.to_string())?,
    };
    match answer.tokens[..clear] == truth[..clear] {
        true => Ok(()),
        false => Err(format!("greedy tokens {:?}, not {truth:?}", answer.tokens)),
    }
}

/// Compares the logits of one model at every position, also with those of the model on disk, and the tokens that
/// follow.
fn check(model: &std::path::Path, format: &str) -> Result<(), String> {
    let (json, truth) = expected(model);
    let file = std::fs::read(model).expect("reference model");
    let mut engine = open(&file, &OpenOptions::default()).map_err(|e| format!("{}: {e}", model.display()))?;
    let logits = engine.logits(&ids(&json["tokens"])).map_err(|e| format!("{}: {e}", model.display()))?;
    let mut on_disk =
        open(&file, &from_disk(least_from_disk(&file))).map_err(|e| format!("{}: {e}", model.display()))?;
    match on_disk.logits(&ids(&json["tokens"])) {
        Ok(others) if others != logits => {
            return Err(format!("{}: other logits when its matrices stay on disk", model.display()));
        }
        // Many small layers pass through the pager's ring, and nobody supplies them meanwhile.
        Err(error) if error.code == ErrorCode::Internal => {}
        result => drop(result.map_err(|e| format!("{}: {e}", model.display()))?),
    }
    // Where activations are quantised, logits differ by more than the margins that count as clear.
    if format == "f32" {
        check_greedy(&mut engine, &file, &json).map_err(|e| format!("{}: {e}", model.display()))?;
    }
    let error = nmse(&truth, &logits);
    println!(
        "{:30} NMSE {error:.2e}, at most {:.1e}",
        model.file_name().unwrap_or_default().to_string_lossy(),
        tolerance(format)
    );
    if error <= tolerance(format) { Ok(()) } else { Err(format!("{}: NMSE {error:.3e}", model.display())) }
}

fn check_all(models: Vec<(std::path::PathBuf, &str)>) {
    let failures: Vec<String> = models.into_iter().filter_map(|(model, format)| check(&model, format).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn architectures() {
    let Some(data) = reference_data() else { return };
    let names = ["llama", "llama-moe", "qwen2", "qwen3", "gemma3", "phi3"];
    check_all(names.iter().map(|n| (data.join(format!("arch/{n}.gguf")), "f32")).collect());
}

/// The models of an optional folder, named by an environment variable, with their results beside them in the form
/// of the reference data. One named as a format is in it.
#[test]
fn models_of_a_folder() {
    let Some(folder) = std::env::var_os("CHORD_REFERENCE_MODELS") else {
        return println!("skipped: CHORD_REFERENCE_MODELS names no folder");
    };
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut models: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    models.sort();
    let of = std::env::var("CHORD_REFERENCE_MODEL").unwrap_or_default();
    models.retain(|path| path.to_string_lossy().contains(&of));
    let formats = Dtype::ALL.map(|dtype| dtype.name().to_lowercase());
    let format = |path: &std::path::Path| {
        let stem = path.file_stem().unwrap_or_default();
        formats.iter().find(|name| stem == name.as_str()).map_or("f32", |name| name.as_str())
    };
    check_all(models.iter().map(|model| (model.clone(), format(model))).collect());
}

#[test]
fn formats() {
    let Some(data) = reference_data() else { return };
    let names = support::formats_with_reference(&data);
    check_all(names.iter().map(|n| (data.join(format!("quant/{n}.gguf")), n.as_str())).collect());
}

#[test]
fn greedy_text_of_a_trained_model() {
    let Some(data) = reference_data() else { return };
    let model = data.join("real/stories260k.gguf");
    check_all(vec![(model.clone(), "f32")]);
    let (json, _) = expected(&model);
    let file = std::fs::read(model).expect("reference model");
    let mut engine = open(&file, &OpenOptions::default()).expect("the model opens");
    let body = json!({"kind": "completion", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 120, "logprobs": 0, "ignore_eos": true});
    let answer = ask(&mut engine, &file, body).expect("an answer");
    assert_eq!(answer.tokens, ids(&json["greedy"]));
    assert_eq!(answer.texts, [json["greedy_text"].as_str().expect("the text")]);
}
