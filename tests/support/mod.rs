//! Opens model files for integration tests, as the engine worker opens them in the browser.
#![allow(dead_code)] // Each test binary uses a part.

pub mod constrain;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod json_schema;
pub mod lora;
pub mod program;
pub mod random_mixture;
pub mod random_model;
pub mod team;

use std::path::{Path, PathBuf};
use wasm_chord::cpu::DiskReader;
use wasm_chord::engine::{Engine, Event, HeaderReader, Moment, OpenOptions, Request};
use wasm_chord::quant::Dtype;
use wasm_chord::template::CivilTime;

/// The reference data's folder; `None`, and a line that says so, where it is absent.
pub fn reference_data() -> Option<PathBuf> {
    wasm_chord::gguf::testing::reference_data()
}

/// Formats without a reference model: Q8_K is in no file, and few are in the others.
const WITHOUT_REFERENCE: [Dtype; 10] = [
    Dtype::Q8_K,
    Dtype::Q1_0,
    Dtype::Q2_0,
    Dtype::NVFP4,
    Dtype::IQ1_S,
    Dtype::IQ1_M,
    Dtype::IQ2_XXS,
    Dtype::IQ2_XS,
    Dtype::IQ2_S,
    Dtype::IQ3_XXS,
];

/// The formats that reference models are there for, in small letters.
pub fn formats_with_reference(data: &Path) -> Vec<String> {
    let of = Dtype::ALL.into_iter().filter(|dtype| !WITHOUT_REFERENCE.contains(dtype));
    let names = of.map(|dtype| dtype.name().to_lowercase());
    names.inspect(|name| assert!(data.join(format!("quant/{name}.gguf")).exists(), "a model in {name}")).collect()
}

/// Opens a model given as bytes and supplies everything that it wants.
pub fn open(file: &[u8], options: &OpenOptions) -> wasm_chord::Result<Engine> {
    open_all(&[file.to_vec()], options)
}

/// The same of a model and its adapters.
pub fn open_all(files: &[Vec<u8>], options: &OpenOptions) -> wasm_chord::Result<Engine> {
    let mut engine = read(files)?.open(options)?;
    engine.set_disk(disk_of(files.to_vec()));
    supply_all(&mut engine, files)?;
    Ok(engine)
}

/// Reads the headers of a model and its adapters.
pub fn read(files: &[Vec<u8>]) -> wasm_chord::Result<HeaderReader> {
    let mut reader = HeaderReader::new(Some(files[0].len() as u64));
    for (number, file) in files.iter().enumerate() {
        if number > 0 {
            reader.next_part(Some(file.len() as u64))?;
        }
        let mut pieces = file.chunks(10_000);
        let is_complete = |piece| reader.feed(piece);
        let complete = pieces.by_ref().map(is_complete).find(|fed| !matches!(fed, Ok(false)));
        if !complete.unwrap_or(Ok(false))? {
            return Err(reader.truncated());
        }
    }
    Ok(reader)
}

/// Supplies what the engine wants now.
pub fn supply(engine: &mut Engine, file: &[u8]) -> wasm_chord::Result<()> {
    supply_all(engine, &[file])
}

/// The same of a model and its adapters.
pub fn supply_all(engine: &mut Engine, files: &[impl AsRef<[u8]>]) -> wasm_chord::Result<()> {
    while let Some(range) = engine.want()? {
        let file = files[usize::from(range.part)].as_ref();
        let bytes = &file[range.offset as usize..(range.offset + range.length) as usize];
        match engine.placement(range.group).reads_disk() {
            true => assert!(engine.supply_from_disk(&range), "the file can be read"),
            false => supply_part(engine, range.part, range.offset, bytes),
        }
    }
    Ok(())
}

/// Supplies the pieces that the running request waits for now; how many they were.
pub fn supply_ahead(engine: &mut Engine, file: &[u8]) -> usize {
    let mut pieces = 0;
    while let Some(piece) = engine.want_early() {
        supply_piece(engine, piece.offset, &file[piece.offset as usize..(piece.offset + piece.length) as usize]);
        pieces += 1;
    }
    pieces
}

/// Options for a model whose file is on disk, under a ceiling.
pub fn from_disk(bytes: u64) -> OpenOptions {
    OpenOptions { max_resident_bytes: Some(bytes), from_disk: true, ..OpenOptions::default() }
}

/// The least ceiling for a model whose file is on disk: all its matrices stay there.
pub fn least_from_disk(file: &[u8]) -> u64 {
    let error = open(file, &from_disk(1)).err().expect("refused");
    error.details["need"].as_u64().expect("what it needs")
}

/// Reads from the only part, as if it were on disk.
pub fn disk(file: Vec<u8>) -> DiskReader {
    disk_of(vec![file])
}

/// Reads from the parts likewise.
pub fn disk_of(files: Vec<Vec<u8>>) -> DiskReader {
    std::rc::Rc::new(move |part, offset, bytes| {
        bytes.copy_from_slice(&files[usize::from(part)][offset as usize..][..bytes.len()]);
        true
    })
}

/// Supplies a piece of the only part, from `offset` on.
pub fn supply_piece(engine: &mut Engine, offset: u64, bytes: &[u8]) {
    supply_part(engine, 0, offset, bytes);
}

/// Supplies a piece of a part.
pub fn supply_part(engine: &mut Engine, part: u16, offset: u64, bytes: &[u8]) {
    let copied: Result<(), ()> = engine.supply(part, offset, bytes.len(), |piece, to| {
        to.copy_from_slice(&bytes[piece]);
        Ok(())
    });
    copied.expect("copying does not fail");
}

/// Normalised mean squared error: Σ(a−b)² / Σa², where a is the truth.
pub fn nmse(truth: &[f32], other: &[f32]) -> f64 {
    assert_eq!(truth.len(), other.len());
    let square = |v: f64| v * v;
    let error: f64 = truth.iter().zip(other).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    error / truth.iter().map(|a| square(f64::from(*a))).sum::<f64>()
}

/// The JSON and the logits that stand beside a reference model.
pub fn expected(model: &Path) -> (serde_json::Value, Vec<f32>) {
    let json = std::fs::read_to_string(model.with_extension("json")).expect("reference JSON");
    let bytes = std::fs::read(model.with_extension("logits.f32")).expect("reference logits");
    let logits = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    (serde_json::from_str(&json).expect("valid JSON"), logits)
}

/// Token ids of a JSON array.
pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().expect("an array").iter().map(|v| v.as_u64().expect("an id") as u32).collect()
}

/// The time and seed that tests give.
pub const MOMENT: Moment =
    Moment { now: CivilTime { year: 2026, month: 1, day: 2, hour: 3, minute: 4, second: 5 }, seed: 1 };

/// What a request came to.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub texts: Vec<String>,
    pub reasons: Vec<String>,
    pub tokens: Vec<u32>,
    pub cached: usize,
    pub dropped: usize,
    /// Of the first input, …
    pub embedding: Vec<f32>,
    pub score: Option<f32>,
    /// … and of all.
    pub embeddings: Vec<Vec<f32>>,
    pub scores: Vec<f32>,
}

/// Begins a request given as JSON and steps to its end, supplying from `file` what is wanted on the way.
pub fn ask(engine: &mut Engine, file: &[u8], body: serde_json::Value) -> wasm_chord::Result<Answer> {
    ask_with(engine, file, body, |_, event| assert!(!matches!(event, Event::Lost), "the device was lost"))
}

/// The same, showing each event to `observe` first, which may act on the engine.
pub fn ask_with(
    engine: &mut Engine,
    file: &[u8],
    body: serde_json::Value,
    observe: impl FnMut(&mut Engine, &Event),
) -> wasm_chord::Result<Answer> {
    engine.begin(Request::from_json(&body.to_string())?, MOMENT)?;
    finish(engine, file, observe)
}

/// The answer of a request that has begun.
pub fn finish(
    engine: &mut Engine,
    file: &[u8],
    mut observe: impl FnMut(&mut Engine, &Event),
) -> wasm_chord::Result<Answer> {
    let mut answer = Answer::default();
    // By choice: those that are computed together come in turns.
    let mut tokens: Vec<Vec<u32>> = Vec::new();
    loop {
        let event = engine.step()?;
        observe(engine, &event);
        let (choice, text, logprobs, reason) = match event {
            Event::Wait { .. } => {
                // What comes early suffices for a while.
                if supply_ahead(engine, file) == 0 {
                    supply(engine, file)?;
                }
                continue;
            }
            Event::Work => continue,
            Event::Device => {
                engine.wait();
                continue;
            }
            Event::Lost => continue,
            Event::Token { choice, text, logprobs, .. } => (choice, text, logprobs, None),
            Event::Finish { choice, text, finish_reason, logprobs, .. } => {
                (choice, text, logprobs, Some(finish_reason))
            }
            Event::Done { usage, embeddings, scores, .. } => {
                answer.cached = usage.prompt_tokens_details.cached_tokens;
                answer.dropped = usage.dropped_tokens;
                answer.embedding = embeddings.first().cloned().unwrap_or_default();
                answer.score = scores.first().copied();
                (answer.embeddings, answer.scores) = (embeddings, scores);
                answer.tokens = tokens.concat();
                return Ok(answer);
            }
        };
        let choices = answer.texts.len().max(choice + 1);
        answer.texts.resize(choices, String::new());
        answer.reasons.resize(choices, String::new());
        tokens.resize(choices, Vec::new());
        answer.texts[choice].push_str(&text);
        tokens[choice].extend(logprobs.iter().map(|l| l.chosen.id));
        if let Some(reason) = reason {
            answer.reasons[choice] = format!("{reason:?}");
        }
    }
}

/// The bytes of the sequence that was computed last. `wait`: the engine waits for what has it.
pub fn saved_with(engine: &mut Engine, mut wait: impl FnMut(&mut Engine)) -> wasm_chord::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    engine.begin_save()?;
    loop {
        match engine.save()? {
            Some([]) => return Ok(bytes),
            Some(piece) => bytes.extend_from_slice(piece),
            None => wait(engine),
        }
    }
}

/// The same of an engine on the CPU, or on a GPU.
pub fn saved(engine: &mut Engine) -> Vec<u8> {
    saved_with(engine, |engine| engine.wait()).expect("saved")
}

/// Takes up a saved sequence that comes in pieces of so many bytes; the number of its tokens.
pub fn take_up_with(
    engine: &mut Engine,
    bytes: &[u8],
    piece: usize,
    mut wait: impl FnMut(&mut Engine),
) -> wasm_chord::Result<usize> {
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let taken = engine.restore(rest)?;
            rest = &rest[taken..];
            if !rest.is_empty() {
                wait(engine);
            }
        }
    }
    loop {
        if let Some(tokens) = engine.finish_restore()? {
            return Ok(tokens);
        }
        wait(engine);
    }
}

/// The same of an engine on the CPU, or on a GPU.
pub fn take_up(engine: &mut Engine, bytes: &[u8]) -> wasm_chord::Result<usize> {
    take_up_with(engine, bytes, bytes.len().max(1), |engine| engine.wait())
}
