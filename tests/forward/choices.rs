//! Choices of one request that are computed together: each is what it is where they come one after the other, to the bit,
//! in every architecture, and the prompt is computed once for all.

use crate::styles::{self, CONTEXT, VOCABULARY};
use crate::support::MOMENT;
use crate::support::random_model::{self, Shape};
use crate::support::team::Team;
use crate::together::{DIFFERENT, file, llama, open, writes};
use serde_json::{Value, json};
use wasm_chord::engine::{ContextOverflow, Event, FinishReason, OpenOptions, Request, Usage};

/// What a choice came to: its text, its tokens with the bits of their probabilities, and why it ended.
#[derive(Clone, Debug, Default, PartialEq)]
struct Choice {
    text: String,
    tokens: Vec<(u32, u32)>,
    reason: Option<FinishReason>,
}

/// What a request came to.
#[derive(Debug, Default, PartialEq)]
struct Told {
    choices: Vec<Choice>,
    usage: Usage,
}

/// Steps until the request has ended. `turns` is called with the number of each step.
fn finish(team: &mut Team, number: usize, mut turns: impl FnMut(&mut Team, usize)) -> Told {
    let mut told = Told::default();
    for step in 0.. {
        turns(team, step);
        let (choice, text, logprobs, reason) = match team.engine.step().expect("a step") {
            Event::Token { choice, text, logprobs, .. } => (choice, text, logprobs, None),
            Event::Finish { choice, text, logprobs, finish_reason, .. } => {
                (choice, text, logprobs, Some(finish_reason))
            }
            Event::Done { usage, .. } => {
                assert_eq!(team.engine.stepped(), number);
                told.usage = usage;
                break;
            }
            Event::Device => {
                team.turn();
                continue;
            }
            Event::Work => continue,
            Event::Wait { .. } => {
                team.supply().expect("it is supplied");
                continue;
            }
            Event::Lost => {
                team.engine.attach_cpu().expect("the CPU takes over");
                continue;
            }
        };
        assert_eq!(team.engine.stepped(), number);
        told.choices.resize(told.choices.len().max(choice + 1), Choice::default());
        let own = &mut told.choices[choice];
        assert_eq!(own.reason, None, "nothing follows the end of choice {choice}");
        own.text.push_str(&text);
        own.tokens.extend(logprobs.iter().map(|logprob| (logprob.chosen.id, logprob.chosen.logprob.to_bits())));
        own.reason = reason;
    }
    told
}

fn request(body: &Value) -> Request {
    Request::from_json(&body.to_string()).expect("a request")
}

fn ask(team: &mut Team, body: &Value) -> Told {
    let number = team.engine.begin(request(body), MOMENT).expect("it begins");
    finish(team, number, |_, _| {})
}

/// A request for choices that differ, in their lengths as well where the prompt is short.
fn body(prompt: usize, more: &Value) -> Value {
    let prompt: Vec<usize> = (0..prompt).map(|at| (3 + at * 7) % VOCABULARY).collect();
    let mut body = json!({
        "kind": "completion", "prompt": prompt, "max_tokens": 9, "logprobs": 2, "temperature": 1.4, "seed": 5, "n": 5,
        "repeat_penalty": 1.1, "ignore_eos": true,
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn bodies() -> [Value; 4] {
    [
        body(20, &json!({})),
        // Of one token, of more than a batch, and of so few that no copy of the state before the last is kept.
        body(1, &json!({"frequency_penalty": 0.7})),
        body(90, &json!({"n": 3, "top_k": 8})),
        body(5, &json!({"ignore_eos": false, "max_tokens": 40})),
    ]
}

/// What was computed together: passes, and tokens in them.
fn together(team: &Team) -> [u64; 2] {
    let stats = team.engine.stats();
    ["passes", "tokens"].map(|name| stats["sequences"][name].as_u64().expect("a count"))
}

#[test]
fn choices_are_what_they_are_one_by_one_in_every_architecture() {
    for style in styles::all().into_iter().filter(writes) {
        let file = file(&style);
        let mut one = open(&file, 1, 1);
        let is_different = DIFFERENT.contains(&style.name);
        let bodies = &bodies()[..if is_different { 4 } else { 1 }];
        let expected: Vec<Told> = bodies.iter().map(|body| ask(&mut one, body)).collect();
        if is_different {
            // Each is the answer to a request of its own, with the next seed.
            for (number, choice) in expected[0].choices.iter().enumerate() {
                let alone = ask(&mut one, &body(20, &json!({"n": 1, "seed": 5 + number})));
                assert_eq!(&alone.choices[0], choice, "{}, choice {number}", style.name);
            }
        }
        let lanes: &[usize] = if is_different { &[2, 3, 8] } else { &[3] };
        for lanes in lanes {
            for threads in if style.recurs() { 1..2 } else { 1..3 } {
                let mut team = open(&file, threads, *lanes);
                for (body, expected) in bodies.iter().zip(&expected) {
                    let told = ask(&mut team, body);
                    assert_eq!(told.choices, expected.choices, "{} in {lanes} lanes, {threads} threads", style.name);
                    assert_eq!(told.usage.completion_tokens, expected.usage.completion_tokens);
                }
                let [passes, tokens] = together(&team);
                assert!(2 * tokens > 3 * passes && passes > 0, "{}: {tokens} tokens in {passes}", style.name);
            }
        }
    }
}

#[test]
fn a_prompt_is_computed_once_for_all_choices() {
    for name in DIFFERENT {
        let style = styles::all().into_iter().find(|style| style.name == name).expect("a style");
        let mut team = open(&file(&style), 1, 8);
        let groups = |team: &Team| {
            let layers = &team.engine.stats()["layers"];
            ["hits", "syncLoads", "direct", "prefetched"]
                .iter()
                .map(|name| layers[name].as_u64().unwrap_or(0))
                .sum::<u64>()
        };
        let before = groups(&team);
        let told = ask(&mut team, &body(60, &json!({"n": 8})));
        assert_eq!(told.choices.len(), 8);
        // Every other token is of a pass of all.
        assert_eq!(together(&team), [8, 64], "{name}");
        let visits = groups(&team) - before;
        assert_eq!(visits % 9, 0, "a pass of the prompt, and eight of a token each: {visits}");
        let stats = team.engine.stats();
        assert_eq!(visits / 9, stats["layers"]["total"].as_u64().expect("layers") + 2, "{name}");
    }
}

#[test]
fn choices_end_by_themselves() {
    // Of the vocabularies of styles no token has a text that could end one.
    let file = random_model::file(Shape { layers: 2, ..Shape::default() });
    let plain = ask(&mut open(&file, 1, 1), &body(12, &json!({"max_tokens": 30})));
    let stop: String = plain.choices[2].text.chars().skip(4).take(3).collect();
    for more in [
        json!({"stop": stop, "max_tokens": 30}),
        json!({"max_tokens": 0}),
        json!({"max_tokens": 1}),
        json!({"n": 1}),
        json!({"n": 32, "max_tokens": 3}),
        json!({"temperature": 0}),
        json!({"draft_max": 4, "max_tokens": 30}),
        json!({"max_tokens": null, "n": 2}),
    ] {
        let body = body(12, &more);
        let expected = ask(&mut open(&file, 1, 1), &body);
        for lanes in [2, 3, 8] {
            assert_eq!(ask(&mut open(&file, 1, lanes), &body), expected, "{more} in {lanes} lanes");
        }
    }
}

#[test]
fn choices_that_outgrow_the_context_lose_their_beginnings_by_themselves() {
    let file = llama();
    for prompt in [12, 100] {
        let body = body(prompt, &json!({"max_tokens": CONTEXT + 40, "n": 3}));
        let ask = |lanes: usize| {
            let options = OpenOptions {
                max_sequences: Some(lanes),
                context_overflow: ContextOverflow::Shift,
                ..OpenOptions::default()
            };
            let mut team = Team::open(&file, 1, &options).expect("the model opens");
            team.supply().expect("it is supplied");
            self::ask(&mut team, &body)
        };
        let (expected, told) = (ask(1), ask(2));
        assert!(told.usage.dropped_tokens > 0);
        assert_eq!(told, expected);
    }
}

#[test]
fn a_thread_that_is_lost_changes_no_choice() {
    let file = llama();
    let expected = ask(&mut open(&file, 1, 1), &body(20, &json!({})));
    for at in 0..40 {
        let mut team = open(&file, 3, 4);
        let number = team.engine.begin(request(&body(20, &json!({}))), MOMENT).expect("it begins");
        let told = finish(&mut team, number, |team, step| {
            if step == at {
                team.kill(1 + at % 2);
            }
        });
        assert_eq!(told.choices, expected.choices, "killed at step {at}");
    }
}

#[test]
fn a_request_that_is_dropped_is_dropped_with_all_its_choices() {
    let file = llama();
    let [first, second] = [body(20, &json!({})), body(33, &json!({"seed": 9}))];
    let expected = ask(&mut open(&file, 1, 1), &second);
    for threads in [1, 3] {
        let mut team = open(&file, threads, 4);
        for at in 0..45 {
            let number = team.engine.begin(request(&first), MOMENT).expect("there is room");
            for _ in 0..at {
                if team.engine.stats()["sequences"]["running"] == 0 {
                    break;
                }
                if let Event::Device = team.engine.step().expect("a step") {
                    team.turn();
                }
            }
            team.engine.cancel_one(number);
            assert_eq!(team.engine.stats()["sequences"]["running"], 0);
            let told = ask(&mut team, &second);
            assert_eq!(told.choices, expected.choices, "after {at} steps, on {threads} threads");
        }
    }
}

#[test]
fn a_held_request_is_held_with_all_its_choices() {
    let mut team = open(&llama(), 1, 4);
    let number = team.engine.begin(request(&body(20, &json!({}))), MOMENT).expect("it begins");
    let other = team.engine.begin(request(&body(3, &json!({"n": 1}))), MOMENT).expect("it begins");
    let mut written = [0, 0];
    for step in 0..60 {
        if step == 20 {
            team.engine.hold(number, true);
            // What is on its way comes to its end.
            written[0] = 0;
        }
        if let Event::Token { .. } = team.engine.step().expect("a step") {
            written[usize::from(team.engine.stepped() == other)] += 1;
        }
    }
    assert!(written[0] <= 4 && written[1] > 5, "{written:?}");
    assert!(matches!(team.engine.step().expect("a step"), Event::Device));
    team.engine.hold(number, false);
    let told = finish(&mut team, number, |_, _| {});
    assert_eq!(told.usage.completion_tokens, 45);
}

#[test]
fn a_newcomer_gets_the_lane_that_a_choice_leaves() {
    let file = llama();
    let mut team = open(&file, 1, 2);
    let expected = ask(&mut open(&file, 1, 1), &body(20, &json!({})));
    let number = team.engine.begin(request(&body(20, &json!({}))), MOMENT).expect("it begins");
    let short = body(3, &json!({"n": 1, "max_tokens": 2}));
    let (mut newcomer, mut tokens, mut ended, mut waited) = (None, vec![Vec::new(); 5], Vec::new(), false);
    while ended.len() < 2 {
        if newcomer.is_none() && !tokens[0].is_empty() {
            match team.engine.can_begin() {
                true => newcomer = Some(team.engine.begin(request(&short), MOMENT).expect("there is room")),
                false => waited = true,
            }
        }
        match team.engine.step().expect("a step") {
            Event::Token { choice, logprobs, .. } | Event::Finish { choice, logprobs, .. }
                if team.engine.stepped() == number =>
            {
                tokens[choice]
                    .extend(logprobs.iter().map(|logprob| (logprob.chosen.id, logprob.chosen.logprob.to_bits())));
            }
            Event::Done { .. } => ended.push(team.engine.stepped()),
            _ => {}
        }
    }
    assert!(waited, "both lanes were at work");
    assert_eq!(ended, [newcomer.expect("it has begun"), number]);
    assert_eq!(tokens, expected.choices.into_iter().map(|choice| choice.tokens).collect::<Vec<_>>());
}

#[test]
fn a_newcomer_goes_on_from_what_another_lane_holds_of_its_prompt() {
    for name in DIFFERENT {
        let style = styles::all().into_iter().find(|style| style.name == name).expect("a style");
        let file = file(&style);
        for threads in if style.recurs() { 1..2 } else { 1..3 } {
            let mut team = open(&file, threads, 3);
            let long = body(40, &json!({"n": 1, "max_tokens": 60}));
            let mut longer = body(60, &json!({"n": 1, "seed": 8}));
            let prompt = longer["prompt"].as_array_mut().expect("a prompt");
            // A part of it is the other's, to which the last token was not computed yet as far as states are concerned.
            if !style.recurs() {
                prompt[30] = json!(0);
            }
            let running = team.engine.begin(request(&long), MOMENT).expect("it begins");
            for _ in 0..40 {
                if let Event::Device = team.engine.step().expect("a step") {
                    team.turn();
                }
            }
            let newcomer = team.engine.begin(request(&longer), MOMENT).expect("there is room");
            let mut told = [Vec::new(), Vec::new()];
            let mut cached = None;
            while cached.is_none() {
                match team.engine.step().expect("a step") {
                    Event::Token { logprobs, .. } | Event::Finish { logprobs, .. } => told
                        [usize::from(team.engine.stepped() == newcomer)]
                    .extend(logprobs.iter().map(|logprob| logprob.chosen.id)),
                    Event::Done { usage, .. } if team.engine.stepped() == newcomer => {
                        cached = Some(usage.prompt_tokens_details.cached_tokens);
                    }
                    Event::Device => team.turn(),
                    _ => {}
                }
            }
            team.engine.cancel_one(running);
            assert_eq!(cached, Some(if style.recurs() { 39 } else { 30 }), "{name} on {threads} threads");
            let alone = open(&file, 1, 1).ask(longer).expect("an answer");
            assert_eq!(told[1], alone.tokens, "{name} on {threads} threads");
        }
    }
}
