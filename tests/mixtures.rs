//! A mixture under a memory ceiling has those of its experts in memory that are used most, and answers exactly as one
//! that is wholly there.

mod support;

use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use support::random_mixture::Mixture;
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::pager::Placement;
use wasm_chord::quant::Dtype;

/// Memory that reading from disk takes, and knowing which experts are used most.
const READING_BYTES: u64 = 650_000;

fn stat(engine: &Engine, group: &str, name: &str) -> u64 {
    engine.stats()[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name} in {}", engine.stats()))
}

fn request() -> Value {
    json!({"kind": "completion", "prompt": "A prompt of some length", "temperature": 0, "max_tokens": 12, "logprobs": 3, "ignore_eos": true})
}

/// Tokens of which several choose the same expert.
fn tokens() -> Vec<u32> {
    (0..70).map(|token| 3 + token * 37 % 256).collect()
}

fn mixtures() -> Vec<Mixture> {
    vec![
        Mixture::default(),
        // Rows of an expert that are no multiple of 8, and no integers.
        Mixture { architecture: "gpt-oss", inner: 36, dtype: Dtype::F16, ..Mixture::default() },
        Mixture { architecture: "lfm2moe", layers: 5, inner: 192, dtype: Dtype::Q4_0, skew: 0.1, ..Mixture::default() },
        Mixture { architecture: "minimax-m2", skew: 0.3, dtype: Dtype::MXFP4, inner: 128, ..Mixture::default() },
        Mixture { embedding: 256, heads: 8, inner: 256, experts: 16, dtype: Dtype::Q4_K, ..Mixture::default() },
    ]
}

#[test]
fn tokens_are_identical_under_every_ceiling() {
    for mixture in mixtures() {
        let (name, file) = (mixture.architecture, mixture.file());
        let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
        let truth = ask(&mut whole, &file, request()).expect("an answer");
        let logits = whole.logits(&tokens()).expect("logits");
        assert_eq!(whole.stats().get("experts"), None, "all are in memory");
        let (most, least) = (stat(&whole, "memory", "budgetBytes"), least_from_disk(&file));
        let mut caches = Vec::new();
        for budget in (0..4).map(|step| least + (most - least) * step / 4).chain([most - 1]) {
            let mut engine = open(&file, &from_disk(budget)).expect("the model opens under a ceiling");
            for round in 0..2 {
                assert_eq!(
                    ask(&mut engine, &file, request()).expect("an answer"),
                    truth,
                    "{name} under {budget}, {round}"
                );
                assert_eq!(engine.logits(&tokens()).expect("logits"), logits, "{name} under {budget}, {round}");
            }
            let peak = stat(&engine, "memory", "peakResidentBytes");
            assert!(peak <= budget, "{name} under {budget}: {peak} bytes");
            assert_eq!(stat(&engine, "layers", "evictions") + stat(&engine, "layers", "syncLoads"), 0, "{name}");
            caches.push((stat(&engine, "experts", "cacheBytes"), stat(&engine, "experts", "hits")));
        }
        // The more memory there is, the more of it has experts, and the more of them are there when they are needed.
        assert!(caches.is_sorted(), "{name}: {caches:?}");
        let (cache, hits) = caches[caches.len() - 1];
        let mut engine = open(&file, &from_disk(most - 1)).expect("the model opens under a ceiling");
        let experts = stat(&engine, "experts", "bytes");
        assert!(cache + READING_BYTES > experts && hits > 0, "{name}: {cache} of {experts}, {hits} hits");
        let with_experts = |group: usize| engine.placement(group) == Placement::Mixture;
        let count = (0..engine.groups().count()).filter(|group| with_experts(*group)).count();
        assert_eq!(count as u64, mixture.layers - u64::from(name == "lfm2moe"), "{name}: all else is in memory");
        // What was read once stays.
        engine.logits(&tokens()).expect("logits");
        let reads = stat(&engine, "experts", "reads");
        engine.logits(&tokens()).expect("logits");
        let again = stat(&engine, "experts", "reads") - reads;
        assert!(2 * again < reads, "{name}: {again} after {reads}");
    }
}

/// Counts how often each place of the file is read.
fn counting(file: &[u8]) -> (wasm_chord::cpu::DiskReader, Rc<RefCell<Vec<u8>>>) {
    let counts = Rc::new(RefCell::new(vec![0; file.len()]));
    let (file, counted) = (file.to_vec(), counts.clone());
    let reader = move |_: u16, offset: u64, bytes: &mut [u8]| {
        let range = offset as usize..offset as usize + bytes.len();
        bytes.copy_from_slice(&file[range.clone()]);
        counted.borrow_mut()[range].iter_mut().for_each(|count: &mut u8| *count += 1);
        true
    };
    (Rc::new(reader), counts)
}

#[test]
fn a_batch_reads_each_expert_once_and_a_token_only_its_own() {
    let mixture = Mixture { layers: 3, ..Mixture::default() };
    let file = mixture.file();
    let (most, least) = {
        let whole = open(&file, &OpenOptions::default()).expect("the model opens");
        (stat(&whole, "memory", "budgetBytes"), least_from_disk(&file))
    };
    for budget in [least, least + (most - least) / 4, (least + most) / 2] {
        let mut engine = open(&file, &from_disk(budget)).expect("the model opens under a ceiling");
        let (reader, counts) = counting(&file);
        engine.set_disk(reader);
        let batch = json!({"kind": "embedding", "input": tokens()[..60]});
        ask(&mut engine, &file, batch).expect("an answer");
        let (reads, hits) = (stat(&engine, "experts", "reads"), stat(&engine, "experts", "hits"));
        assert!(reads > 0 && reads + hits <= mixture.layers * mixture.experts * 3, "{hits} hits, {reads} reads");
        assert!(counts.borrow().iter().all(|count| *count <= 1), "under {budget}");
        counts.borrow_mut().fill(0);
        ask(&mut engine, &file, json!({"kind": "embedding", "input": [9]})).expect("an answer");
        let is_dense_there = (1..engine.groups().count()).all(|group| engine.placement(group) != Placement::Disk);
        let read = counts.borrow().iter().filter(|count| **count > 0).count() as u64;
        let expert = 64 / 32 * 34 * 96;
        let row = 64 / 32 * 34;
        if is_dense_there {
            assert!(
                read <= mixture.layers * mixture.used * 3 * expert + row,
                "{read} bytes for a token under {budget}"
            );
        }
    }
}

#[test]
fn a_disk_that_fails_is_an_error_and_what_it_left_is_not_used() {
    let file = Mixture::default().file();
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let (most, least) = (stat(&whole, "memory", "budgetBytes"), least_from_disk(&file));
    let mut engine = open(&file, &from_disk((least + most) / 2)).expect("the model opens");
    let (disk, left) = (file.clone(), Rc::new(RefCell::new(40)));
    engine.set_disk(Rc::new(move |_, offset, bytes| {
        let works = *left.borrow() != 0;
        *left.borrow_mut() -= 1;
        match works {
            true => bytes.copy_from_slice(&disk[offset as usize..][..bytes.len()]),
            false => bytes.fill(0x7f),
        }
        works
    }));
    let error = ask(&mut engine, &file, request()).expect_err("an error");
    assert_eq!(error.code, ErrorCode::StoreFailed);
    assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth, "it failed once");
    engine.leave_disk().expect("the ceiling allows a ring");
    assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth);
    assert_eq!(engine.stats().get("experts"), None, "experts pass through the ring with their layers");
}

#[test]
fn nothing_is_guessed_for_experts_that_are_read() {
    let file = Mixture::default().file();
    let most = stat(&open(&file, &OpenOptions::default()).expect("the model opens"), "memory", "budgetBytes");
    let passes = |budget: u64| {
        let mut engine = open(&file, &from_disk(budget)).expect("the model opens");
        let body = json!({"kind": "completion", "prompt": "abababababab", "temperature": 0, "max_tokens": 40, "ignore_eos": true});
        let mut drafted = 0;
        ask_with(&mut engine, &file, body, |_, event| {
            if let wasm_chord::engine::Event::Done { draft, .. } = event {
                drafted = draft.drafted;
            }
        })
        .expect("an answer");
        drafted
    };
    assert_eq!(passes(most * 3 / 4), 0, "each guess would bring experts of its own");
}
