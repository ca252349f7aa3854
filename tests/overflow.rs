//! Requests that outgrow the context, where what is old is left out: the answer is the one that the shorter text has by
//! itself, token by token.

mod support;

use serde_json::{Value, json};
use support::random_model::{self, Shape};
use support::*;
use wasm_chord::engine::{ContextOverflow, Engine, OpenOptions};
use wasm_chord::state::Rewind;

const CONTEXT: usize = 48;

fn shifting(file: &[u8], options: OpenOptions) -> Engine {
    let options = OpenOptions { context_length: Some(CONTEXT), context_overflow: ContextOverflow::Shift, ..options };
    open(file, &options).expect("the model opens")
}

fn completion(prompt: &[u32], extra: Value) -> Value {
    let mut body = json!({"kind": "completion", "prompt": prompt, "temperature": 0, "ignore_eos": true, "logprobs": 0});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// The next token of a text by itself.
fn next(engine: &mut Engine, file: &[u8], history: &[u32]) -> u32 {
    ask(engine, file, completion(history, json!({"max_tokens": 1}))).expect("a token").tokens[0]
}

/// What an answer has to be whose prompt fits: half of what comes after it is left out when the context is full.
fn by_itself(file: &[u8], prompt: &[u32], count: usize) -> (Vec<u32>, usize) {
    let mut engine = open(file, &OpenOptions::default()).expect("the model opens");
    let (mut history, mut answer, mut dropped) = (prompt.to_vec(), Vec::new(), 0);
    while answer.len() < count {
        answer.push(next(&mut engine, file, &history));
        history.extend(answer.last());
        if history.len() == CONTEXT && answer.len() < count {
            let kept = if 2 * prompt.len() <= CONTEXT { prompt.len() } else { 4 };
            let gone = (CONTEXT - kept) / 2;
            history.drain(kept..kept + gone);
            dropped += gone;
        }
    }
    (answer, dropped)
}

#[test]
fn an_answer_goes_on_beyond_the_context() {
    let file = random_model::file(Shape::default());
    let least = least_from_disk(&file);
    for prompt in [&[5, 6, 7][..], &(5..35).collect::<Vec<u32>>()] {
        let (tokens, dropped) = by_itself(&file, prompt, 100);
        assert!(dropped > 60, "{dropped}");
        // In memory, from disk, where tokens are guessed ahead, and with a state that cannot go back.
        for (options, rewind) in [
            (OpenOptions::default(), Rewind::Anywhere),
            (from_disk(least), Rewind::Anywhere),
            (OpenOptions::default(), Rewind::Nowhere),
        ] {
            let mut engine = shifting(&file, options);
            engine.limit_rewind(rewind);
            let answer = ask(&mut engine, &file, completion(prompt, json!({"max_tokens": 100}))).expect("an answer");
            assert_eq!((&answer.tokens, answer.dropped), (&tokens, dropped));
            assert_eq!(answer.reasons, ["Length"]);
            // The engine knows what its state holds.
            let again = ask(&mut engine, &file, completion(prompt, json!({"max_tokens": 100}))).expect("an answer");
            assert_eq!(again.tokens, tokens);
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn an_answer_goes_on_beyond_the_context_on_a_gpu() {
    let Some(device) = support::gpu::device(support::gpu::DEVICE) else { return };
    let file = random_model::file(Shape::default());
    let options = OpenOptions {
        context_length: Some(CONTEXT),
        context_overflow: ContextOverflow::Shift,
        ..OpenOptions::default()
    };
    let mut engine = support::gpu::open_on(&file, device, &options).expect("the model opens");
    let drawn = json!({"max_tokens": 70, "temperature": 1.2, "top_k": 30, "seed": 4});
    let mut body = completion(&[5, 6, 7], drawn);
    // Without probabilities the GPU draws, and the next pass is sent ahead.
    body.as_object_mut().expect("an object").remove("logprobs");
    let wanted = ask(&mut shifting(&file, OpenOptions::default()), &file, body.clone()).expect("an answer");
    let answer = ask(&mut engine, &file, body).expect("an answer");
    assert_eq!((answer.texts, answer.dropped), (wanted.texts, wanted.dropped));
    assert!(answer.dropped > 0);
}

#[test]
fn further_choices_begin_with_the_whole_prompt() {
    let file = random_model::file(Shape::default());
    let mut engine = shifting(&file, OpenOptions::default());
    let (tokens, _) = by_itself(&file, &[5, 6, 7], 60);
    let two = ask(&mut engine, &file, completion(&[5, 6, 7], json!({"max_tokens": 60, "n": 2}))).expect("two answers");
    assert_eq!(two.tokens, [&tokens[..], &tokens[..]].concat());
}

#[test]
fn an_answer_without_a_limit_ends_when_it_is_as_long_as_the_context() {
    let file = random_model::file(Shape::default());
    let answer =
        ask(&mut shifting(&file, OpenOptions::default()), &file, completion(&[5, 6], json!({}))).expect("an end");
    assert!((CONTEXT..=2 * CONTEXT).contains(&answer.tokens.len()), "{}", answer.tokens.len());
}

#[test]
fn a_long_prompt_is_shortened_and_what_is_kept_is_computed_once() {
    let file = random_model::file(Shape::default());
    let mut engine = shifting(&file, OpenOptions::default());
    let prompt: Vec<u32> = (5..85).collect();
    let answer = ask(&mut engine, &file, completion(&prompt, json!({"max_tokens": 4}))).expect("an answer");
    assert_eq!(answer.dropped, 36);
    let kept = [&prompt[..4], &prompt[40..]].concat();
    let mut plain = open(&file, &OpenOptions::default()).expect("the model opens");
    let wanted = ask(&mut plain, &file, completion(&kept, json!({"max_tokens": 4}))).expect("an answer");
    assert_eq!(answer.tokens, wanted.tokens);
    // Grown by a little, the same is left out.
    let longer: Vec<u32> = (5..85).chain(answer.tokens).collect();
    let next = ask(&mut engine, &file, completion(&longer[..82], json!({"max_tokens": 1}))).expect("an answer");
    assert_eq!((next.dropped, next.cached >= kept.len() - 1), (36, true), "{next:?}");
}

#[test]
fn a_chat_loses_its_oldest_exchanges_and_keeps_its_instructions() {
    let file = random_model::file(Shape::default());
    let options =
        |overflow| OpenOptions { context_length: Some(128), context_overflow: overflow, ..OpenOptions::default() };
    let mut engine = open(&file, &options(ContextOverflow::Shift)).expect("the model opens");
    let mut plain = open(&file, &options(ContextOverflow::Error)).expect("the model opens");
    let says = |role: &str, number: usize| json!({"role": role, "content": format!("{role} {number}")});
    let chat = |turns: std::ops::Range<usize>| {
        let turns = turns.flat_map(|turn| [says("user", turn), says("assistant", turn)]);
        let all: Vec<Value> = std::iter::once(says("system", 0)).chain(turns).chain([says("user", 99)]).collect();
        json!({"kind": "chat", "messages": all, "max_tokens": 3, "temperature": 0, "ignore_eos": true, "logprobs": true})
    };
    let fits = ask(&mut engine, &file, chat(0..1)).expect("an answer");
    assert_eq!(fits.dropped, 0);
    let long = ask(&mut engine, &file, chat(0..12)).expect("an answer");
    assert!(long.dropped >= 32, "{long:?}");
    let error = ask(&mut plain, &file, chat(0..12)).expect_err("too long");
    assert_eq!(error.code, wasm_chord::ErrorCode::ContextOverflow);
    let same =
        (1..12).find(|from| ask(&mut plain, &file, chat(*from..12)).is_ok_and(|answer| answer.tokens == long.tokens));
    assert!(same.is_some(), "the answer is that of a shorter chat");
    // What is said last always stays, and is refused if it does not fit by itself.
    let last = json!({"kind": "chat", "messages": [says("user", 1), {"role": "user", "content": "x".repeat(400)}]});
    let error = ask(&mut engine, &file, last).expect_err("too long");
    assert_eq!(error.code, wasm_chord::ErrorCode::ContextOverflow);
}
