//! Models in each arithmetic of matrix·matrix, and what becomes of one whose results are wrong.
#![cfg(feature = "gpu")]

mod support;

use support::gpu::{DEVICE, NMSE_MAX, device, open_on};
use support::*;
use wasm_chord::engine::OpenOptions;
use wasm_chord::gpu::DeviceOptions;
use wasm_chord::gpu::shaders::{Arithmetic, Kernel};

/// The logits of a model, with the tiles that were asked for; its error.
fn error_in(model: &std::path::Path, arithmetic: Arithmetic, subgroups: bool) -> Option<f64> {
    let device = device(DeviceOptions { arithmetic: Some(arithmetic), subgroups, ..DEVICE })?;
    if device.variant().tiles != Some(arithmetic) {
        println!("skipped: the device has no {}", arithmetic.name());
        return None;
    }
    let (json, truth) = expected(model);
    let file = std::fs::read(model).expect("reference model");
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = engine.logits(&ids(&json["tokens"])).expect("logits");
    let stats = engine.stats();
    assert_eq!(
        (&stats["gpu"]["disabledKernels"], &stats["gpu"]["arithmetic"]),
        (&serde_json::json!([]), &arithmetic.name().into())
    );
    Some(nmse(&truth, &logits))
}

const BLOCK_FORMATS: [&str; 16] = [
    "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4",
    "tq1_0", "tq2_0", "iq3_s",
];

#[test]
fn tiles_in_8_bit_integers_are_no_worse_than_llama_cpp() {
    let Some(data) = reference_data() else { return };
    let lines: serde_json::Value = serde_json::from_str(include_str!("tolerances.json")).expect("valid JSON");
    for name in BLOCK_FORMATS {
        let Some(error) = error_in(&data.join(format!("quant/{name}.gguf")), Arithmetic::Integer, true) else { return };
        println!("{name:8} NMSE {error:.2e}");
        assert!(error <= lines[name].as_f64().expect("a line"), "{name}: NMSE {error:.2e}");
    }
}

#[test]
fn tiles_in_f16_are_as_good_as_f32_activations() {
    let Some(data) = reference_data() else { return };
    for name in BLOCK_FORMATS {
        let Some(error) = error_in(&data.join(format!("quant/{name}.gguf")), Arithmetic::Half, false) else { return };
        println!("{name:8} NMSE {error:.2e}");
        assert!(error <= NMSE_MAX, "{name}: NMSE {error:.2e}");
    }
}

#[test]
fn fault_48_activations_that_are_prepared_wrongly_are_not_used() {
    let Some(data) = reference_data() else { return };
    let model = data.join("quant/q4_0.gguf");
    let (json, truth) = expected(&model);
    let file = std::fs::read(model).expect("reference model");
    let wrong: wasm_chord::gpu::Tamper =
        |_, _, source| source.replace("let scale = most / 127.0;", "let scale = most / 120.0;");
    let Some(device) = device(DeviceOptions { arithmetic: Some(Arithmetic::Integer), tamper: Some(wrong), ..DEVICE })
    else {
        return;
    };
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = engine.logits(&ids(&json["tokens"])).expect("logits");
    let disabled = engine.stats()["gpu"]["disabledKernels"].to_string();
    assert!(disabled.contains("prepare in int8: wrong"), "{disabled}");
    assert!(nmse(&truth, &logits) <= NMSE_MAX);
}

#[test]
fn fault_48_an_arithmetic_with_wrong_results_gives_way_to_the_next() {
    let Some(data) = reference_data() else { return };
    let model = data.join("quant/q4_k.gguf");
    let (json, truth) = expected(&model);
    let file = std::fs::read(model).expect("reference model");
    let wrong: wasm_chord::gpu::Tamper = |kernel, _, source| match kernel {
        Kernel::MatMat(_) => source
            .replace("dot4I8Packed(a.w, b.w)", "0")
            .replace("let value = vec4(unpack", "let value = 0.5 * vec4(unpack"),
        _ => source,
    };
    let Some(device) = device(DeviceOptions { arithmetic: Some(Arithmetic::Integer), tamper: Some(wrong), ..DEVICE })
    else {
        return;
    };
    let mut disabled = vec!["matmat Q4_K in int8: wrong"];
    if device.arithmetic_after(Arithmetic::Integer) == Some(Arithmetic::Half) {
        disabled.push("matmat Q4_K in f16: wrong");
    }
    let mut engine = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = engine.logits(&ids(&json["tokens"])).expect("logits");
    assert_eq!(engine.stats()["gpu"]["disabledKernels"], serde_json::json!(disabled));
    assert!(nmse(&truth, &logits) <= NMSE_MAX);
}
