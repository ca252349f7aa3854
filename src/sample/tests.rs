use serde_json::{Value as Json, json};

use super::*;

pub(super) fn random_logits(seed: u64, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| (random.f32() - 0.5) * 12.0).collect()
}

/// Draws everything: no cut, temperature 1.
pub(super) fn open() -> SamplingParams {
    SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() }
}

/// The probabilities with which tokens are to be drawn, by sorting everything and by the book.
fn expected(params: &SamplingParams, logits: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let softmax = |order: &[usize], temperature: f64| -> Vec<f64> {
        let powers: Vec<f64> = order.iter().map(|&at| (f64::from(logits[at]) / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    };
    let mut sum = 0.0;
    let mut kept = 0;
    for probability in softmax(&order, 1.0) {
        if sum >= f64::from(params.top_p) && kept > 0 {
            break;
        }
        sum += probability;
        kept += 1;
    }
    order.truncate(kept);
    let probabilities = softmax(&order, 1.0);
    let kept = probabilities.iter().filter(|&&p| p >= f64::from(params.min_p) * probabilities[0]).count();
    order.truncate(kept);
    let mut result = vec![0.0; logits.len()];
    for (&at, probability) in order.iter().zip(softmax(&order, f64::from(params.temperature))) {
        result[at] = probability;
    }
    result
}

/// Draws many times and compares the counts with the expected probabilities by chi-square.
fn check_distribution(params: SamplingParams, logits: &[f32]) {
    const DRAWS: usize = 10_000;
    let expected = expected(&params, logits);
    let mut counts = vec![0usize; logits.len()];
    let mut sampler = Sampler::new(params.clone(), 42);
    let mut scratch = logits.to_vec();
    for _ in 0..DRAWS {
        counts[sampler.sample(&mut scratch, &[]).unwrap() as usize] += 1;
    }
    assert_eq!(scratch, logits, "the logits are as before");
    let means: Vec<f64> = expected.iter().map(|probability| probability * DRAWS as f64).collect();
    assert!(
        means.iter().zip(&counts).all(|(mean, count)| *mean > 0.0 || *count == 0),
        "{params:?} drew a token that was cut"
    );
    let Chi { chi, cells, rest, rest_count } = chi_square(&means, &counts);
    // Chi-square has mean cells - 1 and variance 2 (cells - 1): five deviations and a little for
    // its skew leave a sound sampler less than one chance in 100,000 to fail.
    let freedom: f64 = cells - 1.0;
    assert!(chi <= freedom + 5.0 * (2.0 * freedom).sqrt() + 5.0, "{params:?}: chi-square {chi} of {freedom}");
    assert!(rest >= 10.0 || rest_count <= rest + 5.0 * rest.sqrt() + 5.0, "{params:?}: {rest_count} rare of {rest}");
}

#[test]
fn tokens_are_drawn_with_the_right_probabilities() {
    let logits = random_logits(1, 300);
    let variants = [
        open(),
        SamplingParams { temperature: 0.7, ..open() },
        SamplingParams { temperature: 2.0, ..open() },
        SamplingParams { top_k: 1, ..open() },
        SamplingParams { top_k: 5, ..open() },
        SamplingParams { top_k: 250, ..open() },
        SamplingParams { top_k: 5000, ..open() },
        SamplingParams { top_p: 0.5, ..open() },
        SamplingParams { top_p: 0.999, ..open() },
        SamplingParams { top_p: 0.0, ..open() },
        SamplingParams { min_p: 0.2, ..open() },
        SamplingParams { min_p: 1.0, ..open() },
        SamplingParams { top_p: 0.9, min_p: 0.1, temperature: 1.5, ..open() },
        SamplingParams { top_k: 30, top_p: 0.8, min_p: 0.05, temperature: 0.6, ..open() },
        SamplingParams::default(),
    ];
    for params in variants {
        check_distribution(params, &logits);
    }
    check_distribution(SamplingParams { top_k: 3, ..open() }, &[1.0; 64]);
    check_distribution(SamplingParams { top_p: 0.5, ..open() }, &[1.0; 1000]);
    check_distribution(open(), &[0.0]);
}

#[test]
fn the_largest_logits_are_those_of_a_full_sort() {
    for seed in 0..60 {
        // Few distinct values make many ties, and signed zeros must tie too.
        let mut logits = random_logits(seed, 40 + seed as usize * 17);
        if seed % 2 == 0 {
            logits.iter_mut().for_each(|logit| *logit = logit.round() * 0.5 - 0.0);
        }
        for count in [0, 1, 2, 31, 32, 33, 100, 5000] {
            let mut found = Vec::new();
            largest(&logits, count, &mut found);
            found.sort_by(select::best_first);
            let mut all: Vec<usize> = (0..logits.len()).collect();
            all.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
            all.truncate(count);
            assert_eq!(found.iter().map(|c| c.token as usize).collect::<Vec<_>>(), all, "seed {seed}, count {count}");
        }
    }
}

#[test]
fn temperature_zero_is_greedy_and_the_lowest_id_wins() {
    let params = SamplingParams { temperature: 0.0, ..open() };
    for seed in 0..3 {
        let mut sampler = Sampler::new(params.clone(), seed);
        assert_eq!(sampler.sample(&mut [0.0, 3.0, -1.0, 3.0], &[]).unwrap(), 1);
        assert_eq!(sampler.sample(&mut [-5.0, -5.0], &[]).unwrap(), 0);
        assert_eq!(sampler.sample(&mut [-0.0, 0.0], &[]).unwrap(), 0);
        assert_eq!(sampler.sample(&mut [f32::MIN, f32::MAX], &[]).unwrap(), 1);
    }
}

#[test]
fn bias_and_penalties_count_at_temperature_zero() {
    let greedy = SamplingParams { temperature: 0.0, ..open() };
    let pick = |params: &SamplingParams, logits: &[f32], history: &[u32]| {
        Sampler::new(params.clone(), 0).sample(&mut logits.to_vec(), history).unwrap()
    };
    let biased = SamplingParams { logit_bias: vec![(0, -100.0), (2, 1.5)], ..greedy.clone() };
    assert_eq!(pick(&biased, &[9.0, 1.0, 0.0], &[]), 2);

    let repeat = SamplingParams { repeat_penalty: 2.0, ..greedy.clone() };
    assert_eq!(pick(&repeat, &[4.0, 3.0], &[0, 0]), 1, "4 / 2 < 3, once however often it occurs");
    assert_eq!(pick(&repeat, &[4.0, 1.9], &[0, 0]), 0);
    assert_eq!(pick(&repeat, &[-1.0, -1.5], &[0]), 1, "a negative logit is lowered too");
    let mut long = vec![1; REPEAT_WINDOW];
    assert_eq!(pick(&repeat, &[4.0, 3.0], &[&[0], &long[..]].concat()), 0, "beyond the window");
    long.pop();
    assert_eq!(pick(&repeat, &[4.0, 3.0, 2.5], &[&[0], &long[..]].concat()), 2);
    assert_eq!(pick(&repeat, &[4.0, 3.0], &[7, 70_000]), 0, "ids beyond the vocabulary");
}

#[test]
fn presence_and_frequency_count_what_was_sampled() {
    let run = |presence_penalty, frequency_penalty| {
        let params = SamplingParams { temperature: 0.0, presence_penalty, frequency_penalty, ..open() };
        let mut sampler = Sampler::new(params, 0);
        let mut logits = vec![3.0, 2.6, 1.1];
        (0..6).map(|_| sampler.sample(&mut logits, &[0, 0, 0]).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(0.0, 0.0), [0, 0, 0, 0, 0, 0]);
    assert_eq!(run(1.0, 0.0), [0, 1, 0, 0, 0, 0]);
    assert_eq!(run(2.0, 0.0), [0, 1, 2, 0, 0, 0]);
    // Logits of the three after each choice: 2 2.6 1.1, 2 1.6 1.1, 1 1.6 1.1, 1 .6 1.1, 1 .6 .1.
    assert_eq!(run(0.0, 1.0), [0, 1, 0, 1, 2, 0]);
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let draw = |seed| {
        let mut sampler = Sampler::new(SamplingParams::default(), seed);
        let mut logits = random_logits(9, 300);
        (0..50).map(|_| sampler.sample(&mut logits, &[]).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn extreme_logits_are_survived_and_non_finite_ones_refused() {
    let hot = SamplingParams { repeat_penalty: 10.0, temperature: 1e-30, logit_bias: vec![(0, 100.0)], ..open() };
    let mut sampler = Sampler::new(hot, 1);
    assert_eq!(sampler.sample(&mut [f32::MAX, f32::MIN, 0.0], &[1]).unwrap(), 0);
    assert!(sampler.sample(&mut [f32::MIN; 3], &[0, 1, 2]).unwrap() < 3, "all are equal");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = sampler.sample(&mut [0.0, bad], &[]).unwrap_err();
        assert_eq!((error.code, &error.details["token"]), (ErrorCode::NonFinite, &json!(1)));
    }
    assert_eq!(sampler.sample(&mut [], &[]).unwrap_err().code, ErrorCode::Internal);
}

#[test]
fn logprobs_are_those_of_the_whole_softmax() {
    let logits = random_logits(3, 500);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let mut all: Vec<(u32, f64)> =
        logits.iter().enumerate().map(|(at, &l)| (at as u32, f64::from(l) - sum.ln())).collect();
    let (chosen, top) = top_logprobs(&logits, 77, 50);
    assert!((f64::from(chosen) - all[77].1).abs() < 1e-6);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(top.len(), 50);
    for (&(token, logprob), &(expected_token, expected)) in top.iter().zip(&all) {
        assert_eq!(token, expected_token);
        assert!((f64::from(logprob) - expected).abs() < 1e-6);
    }
    let (chosen, top) = top_logprobs(&[1000.0, 1000.0, -1e30], 2, 9);
    assert_eq!(top[0], (0, -std::f32::consts::LN_2));
    assert_eq!(top.iter().map(|entry| entry.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(chosen, -1e30);
    assert_eq!(top_logprobs(&[0.0], 5, 0), (f32::NEG_INFINITY, vec![]));
}

#[test]
fn stop_strings_are_found_at_every_split() {
    let cases: [(&[&str], &str); 8] = [
        (&["END"], "some text END more"),
        (&["\n\n"], "a\nb\n\nc"),
        (&["aab"], "aaaaaab"),
        (&["日本"], "x日日本y"),
        (&["abcd", "bc"], "xabcd"),
        (&["ab", "abc"], "xabc"),
        (&["never"], "nevernot neve"),
        (&[], "anything"),
    ];
    for (stops, text) in cases {
        // The stop string that is complete first ends the text; of several, the longest.
        let end = (0..=text.len()).filter(|&end| text.is_char_boundary(end)).find_map(|end| {
            let longest = stops.iter().filter(|stop| text[..end].ends_with(**stop)).map(|stop| stop.len()).max();
            longest.map(|len| end - len)
        });
        let borders: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
        for &first in &borders {
            for &second in borders.iter().filter(|&&at| at >= first) {
                check_stop(stops, &[&text[..first], &text[first..second], &text[second..]], end);
            }
        }
        let letters: Vec<String> = text.chars().map(String::from).collect();
        check_stop(stops, &letters.iter().map(String::as_str).collect::<Vec<_>>(), end);
    }
}

fn check_stop(stops: &[&str], pieces: &[&str], end: Option<usize>) {
    let text = pieces.concat();
    let mut matcher = StopMatcher::new(stops.iter().copied());
    let (mut out, mut seen, mut stopped) = (String::new(), 0, false);
    for piece in pieces {
        stopped = matcher.push(piece, &mut out);
        seen += piece.len();
        if !stopped {
            // Exactly what may still become a stop string is held back.
            let may_stop = |held: &str| stops.iter().any(|stop| stop.len() > held.len() && stop.starts_with(held));
            let held = (0..=seen).find(|&at| text.is_char_boundary(at) && may_stop(&text[at..seen])).unwrap_or(seen);
            assert_eq!((out.as_str(), matcher.held_bytes()), (&text[..held], seen - held), "{pieces:?}");
        }
    }
    assert_eq!(stopped, end.is_some(), "{pieces:?}");
    matcher.finish(&mut out);
    assert_eq!(out, text[..end.unwrap_or(text.len())], "{pieces:?}");
}

#[test]
fn invalid_values_are_refused_by_name() {
    let chat = [
        (json!({"temperature": -0.1}), "temperature"),
        (json!({"temperature": 1e30}), "temperature"),
        (json!({"temperature": 1e300}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_k": -1}), "top_k"),
        (json!({"top_k": 1.5}), "top_k"),
        (json!({"top_k": 1e18}), "top_k"),
        (json!({"top_k": 2_000_000}), "top_k"),
        (json!({"top_p": 1.01}), "top_p"),
        (json!({"top_p": -0.5}), "top_p"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"repeat_penalty": 0}), "repeat_penalty"),
        (json!({"repeat_penalty": 1e9}), "repeat_penalty"),
        (json!({"presence_penalty": 2.1}), "presence_penalty"),
        (json!({"frequency_penalty": -2.1}), "frequency_penalty"),
        (json!({"logit_bias": {"5": 101}}), "logit_bias"),
        (json!({"logit_bias": {"5": "x"}}), "logit_bias"),
        (json!({"logit_bias": {"-5": 1}}), "logit_bias"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"logit_bias": [1]}), "logit_bias"),
        (json!({"seed": 0.5}), "seed"),
        (json!({"seed": 1e300}), "seed"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": ["a", ""]}), "stop"),
        (json!({"stop": ["a", 1]}), "stop"),
        (json!({"stop": 1}), "stop"),
        (json!({"stop": vec!["a"; 17]}), "stop"),
        (json!({"stop": "a".repeat(1025)}), "stop"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_tokens": 1e12}), "max_tokens"),
        (json!({"n": 0}), "n"),
        (json!({"n": 129}), "n"),
        (json!({"logprobs": 1}), "logprobs"),
        (json!({"top_logprobs": 1}), "top_logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"ignore_eos": 1}), "ignore_eos"),
    ];
    let completion = [(json!({"logprobs": true}), "logprobs"), (json!({"logprobs": 51}), "logprobs")];
    let chat = chat.iter().map(|case| (case, RequestKind::Chat));
    for ((request, name), kind) in chat.chain(completion.iter().map(|case| (case, RequestKind::Completion))) {
        let error = SamplingParams::from_request(request.as_object().unwrap(), kind).expect_err(&request.to_string());
        assert_eq!((error.code, &error.details["name"]), (ErrorCode::InvalidParameter, &json!(name)), "{request}");
    }
}

#[test]
fn not_a_number_and_tokens_beyond_the_vocabulary_are_refused() {
    let nan = SamplingParams { min_p: f32::NAN, ..open() };
    assert_eq!(nan.validate(10).unwrap_err().details["name"], "min_p");
    let bias = SamplingParams { logit_bias: vec![(9, f32::NAN)], ..open() };
    assert_eq!(bias.validate(10).unwrap_err().details["name"], "logit_bias");
    let beyond = SamplingParams { logit_bias: vec![(10, 1.0)], ..open() };
    assert_eq!(beyond.validate(10).unwrap_err().details["name"], "logit_bias");
    beyond.validate(11).unwrap();
}

#[test]
fn requests_are_read() {
    let request = json!({
        "messages": [], "temperature": 0, "top_k": 7.0, "top_p": null, "logit_bias": {"3": -2}, "seed": -4, "stop": "x",
        "max_tokens": 9, "n": 2, "logprobs": true, "top_logprobs": 5, "ignore_eos": true
    });
    let expected = SamplingParams {
        temperature: 0.0,
        top_k: 7,
        logit_bias: vec![(3, -2.0)],
        seed: Some(-4),
        stop: vec!["x".into()],
        max_tokens: Some(9),
        n: 2,
        logprobs: Some(5),
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let read = |request: Json, kind| SamplingParams::from_request(request.as_object().unwrap(), kind).unwrap();
    assert_eq!(read(request, RequestKind::Chat), expected);
    assert_eq!(read(json!({}), RequestKind::Chat), SamplingParams::default());
    assert_eq!(read(json!({"logprobs": true}), RequestKind::Chat).logprobs, Some(0));
    assert_eq!(read(json!({"logprobs": false}), RequestKind::Chat).logprobs, None);
    assert_eq!(read(json!({"logprobs": 50}), RequestKind::Completion).logprobs, Some(50));
}

#[test]
fn what_is_not_allowed_is_as_if_it_were_not_there() {
    let mut random = fastrand::Rng::with_seed(4);
    for seed in 0..40 {
        let count = random.usize(1..300);
        let logits = random_logits(seed, count);
        let mut allowed: Vec<u32> = (0..count.div_ceil(32) + 1).map(|_| random.u32(..) & random.u32(..)).collect();
        allowed[0] |= 1;
        let is_allowed = |token: usize| allowed[token / 32] >> (token % 32) & 1 == 1;
        let tokens: Vec<usize> = (0..count).filter(|token| is_allowed(*token)).collect();
        // All of few candidates would be sorted, and all of many not: other draws of the same probabilities.
        let all = SamplingParams { top_k: 500, ..open() };
        for params in [SamplingParams { temperature: 0.0, ..open() }, all, SamplingParams::default()] {
            let (mut among, mut alone) = (Sampler::new(params.clone(), seed), Sampler::new(params, seed));
            for _ in 0..20 {
                let mut scratch = logits.clone();
                let token = among.sample_among(&mut scratch, &[], &allowed).unwrap();
                assert_eq!(scratch, logits, "the logits are as before");
                let mut fewer: Vec<f32> = tokens.iter().map(|token| logits[*token]).collect();
                assert_eq!(token as usize, tokens[alone.sample(&mut fewer, &[]).unwrap() as usize]);
            }
        }
    }
    let mut sampler = Sampler::new(open(), 0);
    assert_eq!(
        sampler.sample_among(&mut [1.0], &[], &[2]).unwrap_err().code,
        ErrorCode::Internal,
        "beyond the vocabulary"
    );
}

/// How far counts are from their means.
pub(super) struct Chi {
    pub chi: f64,
    /// Cells that it is the sum of.
    pub cells: f64,
    /// Of those that are too rare for a cell of their own: what they should be together, and what they are.
    pub rest: f64,
    pub rest_count: f64,
}

/// Chi-square, where cells too small for the approximation are pooled.
pub(super) fn chi_square(means: &[f64], counts: &[usize]) -> Chi {
    let mut all = Chi { chi: 0.0, cells: 0.0, rest: 0.0, rest_count: 0.0 };
    for (&mean, &count) in means.iter().zip(counts) {
        if mean < 10.0 {
            all.rest += mean;
            all.rest_count += count as f64;
        } else {
            all.chi += (count as f64 - mean).powi(2) / mean;
            all.cells += 1.0;
        }
    }
    if all.rest >= 10.0 {
        all.chi += (all.rest_count - all.rest).powi(2) / all.rest;
        all.cells += 1.0;
    }
    all
}
