//! Kernels of the GPU backend against the CPU's scalar code where whole models do not reach: tiles of attention
//! of every shape, both arithmetics of matrix·matrix, and the sampler.
#![cfg(feature = "gpu")]

mod support;

use std::rc::Rc;
use support::gpu::{DEVICE, NMSE_MAX, device, open_on};
use support::*;
use wasm_chord::cpu::Cpu;
use wasm_chord::gpu::shaders::{Arithmetic, Kernel};
use wasm_chord::gpu::{Device, DeviceOptions, Gpu, Ways};
use wasm_chord::op::*;
use wasm_chord::pager::Placement;
use wasm_chord::quant::Dtype;
use wasm_chord::quant::random::Noise;
use wasm_chord::sample::{Sampler, SamplingParams};
use wasm_chord::session::OpenOptions;

/// A program with the bytes of its weights, all of them F32.
struct Small {
    program: Program,
    bytes: Vec<Vec<u8>>,
    noise: Noise,
}

impl Small {
    /// An embedding of `width` values, as many `layers` as asked for, and a head; no ops but the embedding's.
    fn new(width: usize, vocabulary: usize, layers: usize) -> Small {
        let mut small = Small {
            program: Program {
                slots: vec![width],
                weights: Vec::new(),
                ropes: Vec::new(),
                groups: vec![Group { weights: Vec::new(), bytes: 0 }; layers + 2],
                ops: vec![Vec::new(); layers + 2],
                logits: RESIDUAL,
                kv_widths: Vec::new(),
                vocabulary,
            },
            bytes: Vec::new(),
            noise: Noise::new(width as u64),
        };
        let table = small.weight(0, vocabulary, width, true);
        small.program.ops[0].push(Op::Embed { table, dst: RESIDUAL, scale: 1.0 });
        small
    }

    fn slot(&mut self, width: usize) -> Slot {
        self.program.slots.push(width);
        Slot((self.program.slots.len() - 1) as u16)
    }

    fn weight(&mut self, group: usize, rows: usize, columns: usize, is_matrix: bool) -> WeightId {
        let id = WeightId(self.program.weights.len() as u32);
        let bytes = rows * columns * 4;
        let index = self.program.groups[group].weights.len();
        let group_offset = self.program.groups[group].bytes;
        self.program.groups[group].weights.push(id);
        self.program.groups[group].bytes += bytes.next_multiple_of(WEIGHT_ALIGNMENT);
        self.program.weights.push(Weight {
            name: String::new(),
            dtype: Dtype::F32,
            rows,
            columns,
            group,
            index,
            group_offset,
            bytes,
            part: 0,
            file_offset: 0,
            is_matrix,
        });
        self.bytes.push((0..rows * columns).flat_map(|_| self.noise.normal().to_le_bytes()).collect());
        id
    }

    fn multiply(&mut self, group: usize, src: Slot, dst: Slot) {
        let (columns, rows) = (self.program.slots[src.0 as usize], self.program.slots[dst.0 as usize]);
        let view = RowView { weight: self.weight(group, rows, columns, true), first_row: 0, rows };
        self.program.ops[group].push(Op::MatMul { view, src, dst, epilogue: Epilogue::default() });
    }

    /// A norm, and the logits.
    fn head(&mut self, group: usize) {
        let width = self.program.slots[0];
        let (weight, dst) = (self.weight(group, 1, width, false), self.slot(width));
        self.program.ops[group].push(Op::RmsNorm { src: RESIDUAL, weight, dst, width, epsilon: 1e-5 });
        let vocabulary = self.program.vocabulary;
        self.program.logits = self.slot(vocabulary);
        self.multiply(group, dst, self.program.logits);
    }

    fn on_gpu(&self, device: Device, context: usize) -> Gpu {
        let ways = Ways::of(&device);
        let mut gpu = Gpu::new(Rc::new(device), &self.program, context, ways).expect("the device suits it");
        for (number, (weight, bytes)) in self.program.weights.iter().zip(&self.bytes).enumerate() {
            gpu.allocate(&self.program, weight.group).expect("room");
            let copy = |range: std::ops::Range<usize>, to: &mut [u8]| to.copy_from_slice(&bytes[range]);
            gpu.fill(&self.program, WeightId(number as u32), 0..weight.bytes, copy);
        }
        gpu
    }

    fn on_cpu(&self, context: usize) -> Cpu {
        let mut cpu = Cpu::new(&self.program, context).expect("room");
        for (number, (weight, bytes)) in self.program.weights.iter().zip(&self.bytes).enumerate() {
            cpu.weights.allocate(&self.program, weight.group, Placement::Pinned).expect("room");
            let copy = |range: std::ops::Range<usize>, to: &mut [u8]| {
                to.copy_from_slice(&bytes[range]);
                Ok::<(), ()>(())
            };
            cpu.weights.fill(&self.program, WeightId(number as u32), 0..weight.bytes, copy).expect("it copies");
        }
        cpu
    }
}

/// What attention is like.
#[derive(Clone, Copy, Debug)]
struct Heads {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    value_dim: usize,
    window: Option<usize>,
    softcap: Option<f32>,
}

/// Attention between projections, and nothing else.
fn attention(shape: Heads) -> Small {
    let Heads { heads, kv_heads, head_dim, value_dim, window, softcap } = shape;
    let width = 32;
    let mut small = Small::new(width, 64, 1);
    small.program.kv_widths = vec![(kv_heads * head_dim, kv_heads * value_dim)];
    let (query, key) = (small.slot(heads * head_dim), small.slot(kv_heads * head_dim));
    let (value, attended) = (small.slot(kv_heads * value_dim), small.slot(heads * value_dim));
    [query, key, value].into_iter().for_each(|dst| small.multiply(1, RESIDUAL, dst));
    // So that scores are about normal.
    let scale = 1.0 / (width as f32 * (head_dim as f32).sqrt());
    small.program.ops[1].extend([
        Op::KvWrite { layer: 0, key, value, head_dim },
        Op::Attention { layer: 0, query, dst: attended, heads, kv_heads, head_dim, scale, window, softcap },
    ]);
    small.multiply(1, attended, RESIDUAL);
    small.head(2);
    small
}

#[test]
fn attention_in_tiles() {
    let plain = Heads { heads: 4, kv_heads: 2, head_dim: 64, value_dim: 64, window: None, softcap: None };
    let context = 150;
    let tokens: Vec<u32> = (0..context as u32).map(|t| t * 7 % 64).collect();
    for shape in [
        plain,
        Heads { window: Some(5), ..plain },
        Heads { heads: 6, head_dim: 20, value_dim: 12, softcap: Some(0.7), ..plain },
        Heads { heads: 5, kv_heads: 1, head_dim: 80, value_dim: 80, window: Some(37), ..plain },
        Heads { heads: 8, head_dim: 128, value_dim: 128, softcap: Some(5.0), ..plain },
        Heads { heads: 3, kv_heads: 3, head_dim: 18, value_dim: 6, window: Some(33), ..plain },
        Heads { heads: 7, kv_heads: 1, head_dim: 96, value_dim: 96, ..plain },
        Heads { head_dim: 256, value_dim: 256, window: Some(64), ..plain },
        Heads { heads: 2, head_dim: 512, value_dim: 512, ..plain },
        Heads { heads: 2, kv_heads: 1, head_dim: 2, value_dim: 2, ..plain },
    ] {
        let Some(device) = device(DEVICE) else { return };
        let small = attention(shape);
        let program = &small.program;
        let (mut gpu, mut cpu) = (small.on_gpu(device, context), small.on_cpu(context));
        // A prompt, and its continuations at odd positions: each in tiles, but for the single token.
        for (from, to) in [(0, 33), (33, 34), (34, 51), (51, 57), (57, 150)] {
            gpu.reserve(to);
            cpu.reserve(program, to).expect("room");
            let (mut from_gpu, mut from_cpu) = (Vec::new(), Vec::new());
            for first in (from..to).step_by(64) {
                let positions = first..to.min(first + 64);
                let tokens = &tokens[positions.clone()];
                let rows = positions.start - from..positions.end - from;
                for group in [0, 1] {
                    let batch = Batch { tokens, position: first, rows: rows.clone() };
                    gpu.run(program, group, &batch, Wanted::Hidden).expect("it runs");
                    cpu.run(program, group, &batch);
                }
            }
            for row in 0..to - from {
                let batch =
                    Batch { tokens: &tokens[from + row..=from + row], position: from + row, rows: row..row + 1 };
                gpu.run(program, 2, &batch, Wanted::Hidden).expect("it runs");
                gpu.wait();
                assert_eq!(gpu.poll(), Poll::Ready);
                from_gpu.append(&mut gpu.outcome().values);
                cpu.run(program, 2, &batch);
                from_cpu.extend_from_slice(cpu.hidden(program));
            }
            let error = nmse(&from_cpu, &from_gpu);
            assert!(error <= 1e-6, "{shape:?}, positions {from} to {to}: NMSE {error:.2e}");
        }
    }
}

/// The logits of a model, with the tiles that were asked for; its error.
fn error_in(model: &std::path::Path, arithmetic: Arithmetic, subgroups: bool) -> Option<f64> {
    let device = device(DeviceOptions { arithmetic: Some(arithmetic), subgroups, ..DEVICE })?;
    if device.variant().tiles != Some(arithmetic) {
        println!("skipped: the device has no {}", arithmetic.name());
        return None;
    }
    let (json, truth) = expected(model);
    let file = std::fs::read(model).expect("reference model");
    let mut session = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = session.logits(&ids(&json["tokens"])).expect("logits");
    let stats = session.stats();
    assert_eq!(
        (&stats["gpu"]["disabledKernels"], &stats["gpu"]["arithmetic"]),
        (&serde_json::json!([]), &arithmetic.name().into())
    );
    Some(nmse(&truth, &logits))
}

const BLOCK_FORMATS: [&str; 13] =
    ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"];

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
    let mut session = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = session.logits(&ids(&json["tokens"])).expect("logits");
    let disabled = session.stats()["gpu"]["disabledKernels"].to_string();
    assert!(disabled.contains("in int8: wrong"), "{disabled}");
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
    let mut session = open_on(&file, device, &OpenOptions::default()).expect("the model opens");
    let logits = session.logits(&ids(&json["tokens"])).expect("logits");
    assert_eq!(session.stats()["gpu"]["disabledKernels"], serde_json::json!(disabled));
    assert!(nmse(&truth, &logits) <= NMSE_MAX);
}

#[test]
fn the_sampler_draws_what_the_cpu_draws() {
    let Some(device) = device(DEVICE) else { return };
    let vocabulary = 5003;
    let mut small = Small::new(32, vocabulary, 0);
    small.head(1);
    // Every row again in another part of the vocabulary, and the next one too: ties of three.
    let rows = small.bytes.last_mut().expect("the head's matrix");
    let third = vocabulary / 3 * 32 * 4;
    rows.copy_within(..third, third);
    rows.copy_within(..third, 2 * third);
    let program = &small.program;
    let mut gpu = small.on_gpu(device, 4);
    let mut run = |token: u32, wanted: Wanted| {
        let batch = Batch { tokens: &[token], position: 0, rows: 0..1 };
        (0..2).for_each(|group| gpu.run(program, group, &batch, wanted).expect("it runs"));
        gpu.wait();
        assert_eq!(gpu.poll(), Poll::Ready);
        let outcome = gpu.outcome();
        (outcome.token, std::mem::take(&mut outcome.values))
    };
    for token in 0..4 {
        let (_, mut logits) = run(token, Wanted::Logits);
        // A softmax that is neither flat nor a single token.
        for (temperature, top_p, min_p) in [(0.0, 1.0, 0.0), (2.0, 1.0, 0.0), (1.5, 0.9, 0.0), (2.0, 0.99, 0.01)] {
            for top_k in [1, 2, 40, 64] {
                let params = SamplingParams { temperature, top_p, min_p, top_k, ..SamplingParams::default() };
                for seed in 0..6 {
                    let mut sampler = Sampler::new(params.clone(), seed);
                    let expected = sampler.sample(&mut logits, &[]).expect("finite logits");
                    let draw = Sampler::new(params.clone(), seed).draw_elsewhere(0).expect("a plain draw");
                    assert_eq!(run(token, Wanted::Token(draw)).0, Some(expected), "token {token}, {draw:?}");
                }
            }
        }
    }
}
