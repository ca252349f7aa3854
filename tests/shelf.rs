//! Conversations that take turns in one engine: what was computed of each is kept, and taken up again.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{Engine, Exchange, OpenOptions, Request};

fn opened(file: &[u8]) -> Engine {
    open(file, &OpenOptions::default()).expect("the model opens")
}

/// The owner of an engine, who keeps states.
#[derive(Default)]
struct Owner {
    kept: BTreeMap<u32, Vec<u8>>,
    exchanges: Vec<Exchange>,
}

impl Owner {
    fn ask(&mut self, engine: &mut Engine, file: &[u8], body: Value) -> Answer {
        let request = Request::from_json(&body.to_string()).expect("a request");
        let exchange = engine.prepare(request, MOMENT).expect("prepared");
        self.exchanges.push(exchange);
        if exchange.keeps {
            let bytes = saved(engine);
            let (number, gone) = engine.shelve();
            gone.iter().for_each(|number| drop(self.kept.remove(number).expect("it was kept")));
            self.kept.insert(number, bytes);
        }
        if let Some(number) = exchange.takes {
            take_up(engine, &self.kept[&number]).expect("taken up");
            if !exchange.copies {
                engine.unshelve(number);
                self.kept.remove(&number);
            }
        }
        engine.start().expect("started");
        finish(engine, file, |_, _| {}).expect("an answer")
    }
}

fn completion(prompt: &[u32]) -> Value {
    json!({"kind": "completion", "prompt": prompt, "temperature": 0, "ignore_eos": true, "logprobs": 0, "max_tokens": 6})
}

/// Two conversations of a few rounds each; each is only computed once, and answers as it does alone.
fn take_turns(shape: Shape, shared: impl FnOnce(&[u8]) -> Engine) {
    let file = random_model::file(shape);
    let (mut shared, mut owner) = (shared(&file), Owner::default());
    let mut texts: Vec<Vec<u32>> =
        [3, 7].iter().map(|step| (0..40).map(|at| 5 + (at + 1) * step % 50).collect()).collect();
    for round in 0..4 {
        for text in &mut texts {
            let answer = owner.ask(&mut shared, &file, completion(text));
            let alone = ask(&mut opened(&file), &file, completion(text)).expect("an answer");
            assert_eq!(answer.tokens, alone.tokens);
            // The last token of an answer is not computed before it is a part of the next prompt.
            assert_eq!(answer.cached, if round == 0 { 0 } else { text.len() - 4 });
            text.extend(answer.tokens);
            text.extend([9, 10, 11]);
        }
        assert!(owner.kept.len() <= 1, "{}", owner.kept.len());
    }
    let changes = owner.exchanges.iter().filter(|exchange| exchange.keeps && exchange.takes.is_some()).count();
    assert_eq!(changes, 6, "{:?}", owner.exchanges);
}

#[test]
fn conversations_that_take_turns_are_computed_once() {
    take_turns(Shape::default(), opened);
}

#[cfg(feature = "gpu")]
#[test]
fn conversations_take_turns_on_a_gpu() {
    let Some(device) = support::gpu::device(support::gpu::DEVICE) else { return };
    take_turns(Shape::default(), |file| {
        support::gpu::open_on(file, device, &OpenOptions::default()).expect("the model opens")
    });
}

#[test]
fn states_that_go_back_by_copies_take_turns_too() {
    take_turns(Shape { is_hybrid: true, ..Shape::default() }, opened);
}

#[test]
fn nothing_is_kept_of_what_goes_on_is_short_or_no_conversation() {
    let file = random_model::file(Shape::default());
    let (mut engine, mut owner) = (opened(&file), Owner::default());
    let text: Vec<u32> = (0..60).map(|at| 5 + at * 3 % 50).collect();
    let short = &text[50..];
    for prompt in [short, &text, &text[..50]] {
        owner.ask(&mut engine, &file, completion(prompt));
    }
    assert_eq!(owner.exchanges, [Exchange::default(); 3], "a short one, and another answer to the same text");
    // An input that is embedded takes the place of a conversation, and is none.
    for (prompt, keeps) in [(&text[10..], true), (&text[5..], false)] {
        owner.ask(&mut engine, &file, json!({"kind": "embedding", "input": prompt}));
        assert_eq!(owner.exchanges.pop().expect("one"), Exchange { keeps, ..Exchange::default() });
    }
    let back = owner.ask(&mut engine, &file, completion(&text));
    let taken = Exchange { takes: Some(0), ..Exchange::default() };
    assert_eq!((owner.exchanges.pop().expect("one"), back.cached), (taken, 50));
}

#[test]
fn a_conversation_that_went_on_replaces_what_was_kept_of_it() {
    let file = random_model::file(Shape::default());
    let (mut engine, mut owner) = (opened(&file), Owner::default());
    let [mut first, second]: [Vec<u32>; 2] = [3, 7].map(|step| (0..60).map(|at| 5 + (at + 1) * step % 50).collect());
    first.extend(owner.ask(&mut engine, &file, completion(&first)).tokens);
    owner.ask(&mut engine, &file, completion(&second));
    // As an owner does whose bytes are gone: it is computed again.
    let request = || Request::from_json(&completion(&first).to_string()).expect("a request");
    let exchange = engine.prepare(request(), MOMENT).expect("prepared");
    assert_eq!(exchange, Exchange { keeps: true, takes: Some(0), copies: false, waits: false });
    engine.start().expect("started");
    assert_eq!(finish(&mut engine, &file, |_, _| {}).expect("an answer").cached, 0);
    owner.ask(&mut engine, &file, completion(&second));
    assert_eq!(owner.kept.keys().collect::<Vec<_>>(), [&1], "the first is kept once, as it was last");
    // A request that was prepared and given up leaves nothing.
    engine.prepare(request(), MOMENT).expect("prepared");
    engine.cancel();
    assert!(engine.start().is_err());
}

#[test]
fn a_beginning_that_conversations_share_is_taken_and_leaves_them_whole() {
    let file = random_model::file(Shape::default());
    let (mut engine, mut owner) = (opened(&file), Owner::default());
    let long: Vec<u32> = (0..90).map(|at| 5 + (at + 1) * 3 % 50).collect();
    let other: Vec<u32> = (0..50).map(|at| 5 + (at + 1) * 7 % 50).collect();
    let answer = owner.ask(&mut engine, &file, completion(&long));
    owner.ask(&mut engine, &file, completion(&other));
    let branch = [&long[..40], &[1; 5]].concat();
    assert_eq!(owner.ask(&mut engine, &file, completion(&branch)).cached, 40);
    assert_eq!(owner.exchanges.last(), Some(&Exchange { keeps: true, takes: Some(0), copies: true, waits: false }));
    let back = owner.ask(&mut engine, &file, completion(&long));
    assert_eq!((back.cached, back.tokens), (89, answer.tokens));
}
