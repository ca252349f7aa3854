//! A model under a memory ceiling answers exactly as one that is wholly in memory.

mod support;

use serde_json::json;
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::ErrorCode;
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::pager::{Pace, Placement, State};

fn ceiling(bytes: u64) -> OpenOptions {
    OpenOptions { max_resident_bytes: Some(bytes), ..OpenOptions::default() }
}

fn stat(engine: &Engine, group: &str, name: &str) -> u64 {
    engine.stats()[group][name].as_u64().expect("a number")
}

fn request() -> serde_json::Value {
    json!({"kind": "completion", "prompt": "A prompt of some length", "temperature": 0, "max_tokens": 12, "logprobs": 3, "ignore_eos": true})
}

#[test]
fn tokens_are_identical_under_every_ceiling() {
    let file = random_model::file(Shape { layers: 12, ..Shape::default() });
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let logits = whole.logits(&[1, 70, 80, 90]).expect("logits");
    let most = stat(&whole, "memory", "peakResidentBytes");
    let weights = file.len() as u64;
    let mut paged = 0;
    for percent in [90, 75, 60, 50, 40] {
        let budget = most - weights * (100 - percent) / 100;
        let mut engine = open(&file, &ceiling(budget)).expect("the model opens under a ceiling");
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth, "at {percent} %");
        assert!(
            stat(&engine, "memory", "peakResidentBytes") <= budget,
            "at {percent} %: {} of {budget}",
            engine.stats()
        );
        paged += stat(&engine, "layers", "evictions");
        // Logits want all groups to come by as well; the engine asks for them in its own order.
        engine
            .begin(wasm_chord::engine::Request::from_json(&request().to_string()).expect("a body"), MOMENT)
            .expect("begins");
        engine.cancel();
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer after a cancelled one").texts, truth.texts);
        let alone = OpenOptions { prefetch_distance: Some(0), ..ceiling(budget) };
        let mut engine = open(&file, &alone).expect("the model opens with nothing prefetched");
        assert_eq!(stat(&engine, "layers", "ring"), 1);
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth, "at {percent} %, nothing prefetched");
    }
    assert!(paged > 100, "layers moved through the ring");
    assert_eq!(logits.len(), 4 * random_model::VOCABULARY as usize);
}

#[test]
fn a_ring_grows_where_answers_are_late_with_the_same_tokens_and_memory() {
    let file = random_model::file(Shape { layers: 12, ..Shape::default() });
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let budget = stat(&whole, "memory", "peakResidentBytes") - file.len() as u64 * 4 / 10;
    let ring_after = |pace: Pace, options: OpenOptions| {
        let mut engine = open(&file, &options).expect("the model opens under a ceiling");
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth);
        let pinned = stat(&engine, "layers", "pinned");
        engine.measured(&pace);
        let ring = stat(&engine, "layers", "ring");
        assert!(ring == 2 || stat(&engine, "layers", "pinned") < pinned);
        assert_eq!(
            ask(&mut engine, &file, request()).expect("an answer").tokens,
            truth.tokens,
            "with a ring of {ring}"
        );
        assert!(stat(&engine, "memory", "peakResidentBytes") <= budget, "{}", engine.stats());
        ring
    };
    let late = Pace { latency: 100.0, per_byte: 1e-9, compute: 0.1 };
    assert_eq!(ring_after(late, ceiling(budget)), 4);
    assert_eq!(ring_after(Pace { latency: 0.0, per_byte: 1.0, ..late }, ceiling(budget)), 2);
    // Who says how long it is has it so.
    let fixed = OpenOptions { prefetch_distance: Some(1), ..ceiling(budget) };
    assert_eq!(ring_after(late, fixed), 2);
}

#[test]
fn tokens_are_identical_with_matrices_on_disk() {
    let file = large();
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let logits = whole.logits(&[1, 70, 80, 90]).expect("logits");
    let most = stat(&whole, "memory", "peakResidentBytes");
    let least = least_from_disk(&file);
    assert!(least < most - file.len() as u64 * 8 / 10, "hardly a weight has to be in memory");
    for budget in [least, least + 100_000, (least + most) / 2, most - 1] {
        // Reads are larger where there is room for it.
        let options = OpenOptions { read_bytes: Some(700_000), ..from_disk(budget) };
        let mut engine = open(&file, &options).expect("the model opens under a ceiling");
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth, "under {budget}");
        assert_eq!(engine.logits(&[1, 70, 80, 90]).expect("logits"), logits, "under {budget}");
        assert!(stat(&engine, "memory", "peakResidentBytes") <= budget, "under {budget}");
        assert_eq!(stat(&engine, "layers", "evictions"), 0);
        assert!(engine.groups().enumerate().any(|(group, _)| engine.placement(group) == Placement::Disk));
    }
}

/// A model beside which the memory for reading from disk is small.
fn large() -> Vec<u8> {
    random_model::file(Shape { layers: 12, feed_forward: 1024, ..Shape::default() })
}

#[test]
fn a_disk_that_fails_can_be_left() {
    let file = large();
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let most = stat(&whole, "memory", "peakResidentBytes");
    let mut engine = open(&file, &from_disk(most - file.len() as u64 / 3)).expect("the model opens");
    engine.set_disk(std::rc::Rc::new(|_, _, _| false));
    let error = ask(&mut engine, &file, request()).expect_err("an error");
    assert_eq!(error.code, ErrorCode::StoreFailed);
    engine.leave_disk().expect("the ceiling allows a ring");
    assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth);
    assert!(stat(&engine, "layers", "evictions") > 0);
    // A ceiling that only works with the disk is an error that says so.
    let mut small = open(&file, &from_disk(least_from_disk(&file))).expect("the model opens");
    assert_eq!(small.leave_disk().expect_err("refused").code, ErrorCode::BudgetTooSmall);
}

#[test]
fn the_default_ceiling_is_half_of_the_device_where_the_rest_is_on_disk() {
    let file = large();
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let most = stat(&whole, "memory", "budgetBytes");
    let least = least_from_disk(&file);
    let on_disk = |device| OpenOptions { device_bytes: Some(device), from_disk: true, ..OpenOptions::default() };
    // Half of the device, but not less than what works, nor more than is needed.
    for (device, budget) in [(2 * most - 200_000, most - 100_000), (1000, least), (4 * most, most)] {
        let mut engine = open(&file, &on_disk(device)).expect("the model opens");
        assert_eq!(stat(&engine, "memory", "budgetBytes"), budget);
        assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth);
        assert!(stat(&engine, "memory", "peakResidentBytes") <= budget);
    }
    // The caller knows better; and what is not on disk is not fetched again and again.
    let asked = OpenOptions { max_resident_bytes: Some(most), ..on_disk(1000) };
    assert_eq!(stat(&open(&file, &asked).expect("the model opens"), "memory", "budgetBytes"), most);
    let fetched = OpenOptions { from_disk: false, ..on_disk(1000) };
    assert_eq!(stat(&open(&file, &fetched).expect("the model opens"), "memory", "budgetBytes"), most);
}

#[test]
fn a_ceiling_that_cannot_work_says_what_it_needs() {
    let file = random_model::file(Shape::default());
    let error = open(&file, &ceiling(100_000)).err().expect("refused");
    assert_eq!(error.code, ErrorCode::BudgetTooSmall);
    let need = error.details["need"].as_u64().expect("what it needs");
    let mut engine = open(&file, &ceiling(need)).expect("what it says it needs suffices");
    ask(&mut engine, &file, request()).expect("an answer");
}

#[test]
fn pieces_may_come_in_any_order_and_twice() {
    let file = random_model::file(Shape::default());
    let mut whole = open(&file, &OpenOptions::default()).expect("the model opens");
    let truth = ask(&mut whole, &file, request()).expect("an answer");
    let mut reader = wasm_chord::engine::HeaderReader::new(Some(file.len() as u64));
    assert!(reader.feed(&file).expect("a header"));
    let mut engine = reader.open(&OpenOptions::default()).expect("the model opens");
    while engine.want().expect("room").is_some() {}
    for size in [7_001usize, 13_007] {
        let mut starts: Vec<usize> = (0..file.len()).step_by(size).collect();
        starts.reverse();
        for start in starts {
            let piece = &file[start..file.len().min(start + size)];
            support::supply_piece(&mut engine, start as u64, piece);
        }
    }
    assert!(engine.groups().all(|state| state == State::Resident));
    assert_eq!(ask(&mut engine, &file, request()).expect("an answer"), truth);
}

#[test]
fn a_model_outgrows_a_memory_that_cannot_hold_what_its_ceiling_allows() {
    let file = random_model::file(Shape::default());
    let reader = || {
        let mut reader = wasm_chord::engine::HeaderReader::new(Some(file.len() as u64));
        assert!(reader.feed(&file).expect("a header"));
        reader
    };
    let plan = reader().plan(&OpenOptions::default()).expect("a plan");
    let [whole, least] = ["budgetBytes", "leastBytes"].map(|name| plan["memory"][name].as_u64().expect("a number"));
    let outgrown = |addressable: u64, ceiling: Option<u64>| {
        let options =
            OpenOptions { addressable_bytes: Some(addressable), max_resident_bytes: ceiling, ..OpenOptions::default() };
        let mut reader = reader();
        let bytes = reader.outgrown(&options).expect("a header of a model");
        assert_eq!(reader.outgrown(&options).expect("asking changes nothing"), bytes);
        reader.open(&OpenOptions::default()).expect("the reader still has the header");
        bytes
    };
    assert_eq!(outgrown(whole, None), None);
    assert_eq!(outgrown(whole - 1, None), Some(whole));
    assert_eq!(outgrown(least - 1, None), Some(whole), "a memory too small for any part of it");
    assert_eq!(outgrown(least, Some(whole - 1)), Some(whole - 1), "a ceiling between the two");
    assert_eq!(outgrown(least + 1, Some(least + 1)), None, "the ceiling says the same as the memory");
}
