//! The GPU backend against the scalar truth, natively, on whatever adapter there is.
#![cfg(feature = "gpu")]

mod support;

use serde_json::json;
use support::*;
use wasm_chord::gpu::{Device, DeviceOptions};
use wasm_chord::session::{HeaderReader, OpenOptions, Session};

/// Error of f32 activations at most.
const NMSE_MAX: f64 = 1e-5;

/// A device; `None`, and a line that says so, where there is none.
fn device(options: DeviceOptions) -> Option<Device> {
    let device = pollster::block_on(Device::open(&DeviceOptions { software: true, ..options }));
    if device.is_none() {
        println!("skipped: no GPU adapter (Mesa's lavapipe is one)");
    }
    device
}

fn open_on(file: &[u8], device: Device, options: &OpenOptions) -> wasm_chord::Result<Session> {
    let mut reader = HeaderReader::new(Some(file.len() as u64));
    assert!(reader.feed(file)?);
    let mut session = reader.open_on(device, options)?;
    assert!(session.gpu().is_some(), "the model runs on the GPU");
    supply(&mut session, file)?;
    Ok(session)
}

/// The logits of one model at every position, against the reference.
fn check(model: &std::path::Path, options: &DeviceOptions) -> Result<(), String> {
    let Some(device) = device(options.clone()) else { return Ok(()) };
    let (json, truth) = expected(model);
    let file = std::fs::read(model).expect("reference model");
    let mut session =
        open_on(&file, device, &OpenOptions::default()).map_err(|e| format!("{}: {e}", model.display()))?;
    let logits = session.logits(&ids(&json["tokens"])).map_err(|e| format!("{}: {e}", model.display()))?;
    let error = nmse(&truth, &logits);
    println!("{:30} NMSE {error:.2e}", model.file_name().unwrap_or_default().to_string_lossy());
    if error <= NMSE_MAX { Ok(()) } else { Err(format!("{}: NMSE {error:.3e}", model.display())) }
}

fn check_all(folder: &str, names: &[&str], options: &DeviceOptions) {
    let Some(data) = reference_data() else { return };
    let models = names.iter().map(|name| data.join(format!("{folder}/{name}.gguf")));
    let failures: Vec<String> = models.filter_map(|model| check(&model, options).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn architectures() {
    check_all("arch", &["llama", "llama-moe", "qwen2", "qwen3", "gemma3", "phi3"], &DeviceOptions::default());
}

#[test]
fn formats() {
    let names = [
        "f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl",
        "iq4_xs", "mxfp4",
    ];
    check_all("quant", &names, &DeviceOptions::default());
}

#[test]
fn greedy_text_of_a_trained_model() {
    check_all("real", &["stories260k"], &DeviceOptions::default());
    let Some(data) = reference_data() else { return };
    let Some(device) = device(DeviceOptions::default()) else { return };
    let model = data.join("real/stories260k.gguf");
    let (json, _) = expected(&model);
    let file = std::fs::read(model).expect("reference model");
    let mut session = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let body = json!({"kind": "completion", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 120, "ignore_eos": true});
    let answer = ask(&mut session, &file, body).expect("an answer");
    assert_eq!(answer.texts, [json["greedy_text"].as_str().expect("the text")]);
    println!("{}", session.stats()["gpu"]);
}
