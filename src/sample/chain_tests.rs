//! The samplers of `chain` against plain references: what each keeps, by its definition, over a sorted list.

use serde_json::{Value as Json, json};

use super::tests::{Chi, chi_square, open, random_logits};
use super::*;

/// Probabilities by token, largest first.
type Table = Vec<(u32, f64)>;

fn normalised(mut table: Table) -> Table {
    let total: f64 = table.iter().map(|(_, share)| share).sum();
    table.iter_mut().for_each(|(_, share)| *share /= total);
    table.sort_by(|a, b| b.1.total_cmp(&a.1));
    table
}

fn softmax(logits: &[f32]) -> Table {
    normalised(logits.iter().enumerate().map(|(token, logit)| (token as u32, f64::from(*logit).exp())).collect())
}

/// A temperature raises each probability to its inverse.
fn tempered(table: Table, temperature: f64) -> Table {
    normalised(table.into_iter().map(|(token, share)| (token, share.powf(1.0 / temperature))).collect())
}

fn entropy(table: &Table) -> f64 {
    table.iter().map(|(_, share)| -share * share.ln()).sum()
}

/// The first so many that reach a probability, but at least so many.
fn reaching(table: Table, share: f64, least: usize, is_beyond: bool) -> Table {
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for (token, probability) in table {
        let is_enough = if is_beyond { sum > share } else { sum >= share };
        if is_enough && kept.len() >= least.max(1) {
            break;
        }
        sum += probability;
        kept.push((token, probability));
    }
    kept
}

fn typical(table: Table, share: f64, least: usize) -> Table {
    let expected = entropy(&table);
    let mut near = table;
    near.sort_by(|a, b| (-a.1.ln() - expected).abs().total_cmp(&(-b.1.ln() - expected).abs()));
    normalised(reaching(near, share, least, true))
}

fn sigma(logits: &[f32], times: f64) -> Table {
    let count = logits.len() as f64;
    let mean = logits.iter().map(|logit| f64::from(*logit)).sum::<f64>() / count;
    let deviation = (logits.iter().map(|logit| (f64::from(*logit) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let best = logits.iter().fold(f32::MIN, |best, logit| best.max(*logit));
    let kept = |token: u32| f64::from(logits[token as usize]) >= f64::from(best) - times * deviation;
    normalised(softmax(logits).into_iter().filter(|(token, _)| kept(*token)).collect())
}

/// Mixes what comes if the top choices are left out with what comes if not.
fn excluding(table: Table, probability: f64, threshold: f64, least: usize) -> Table {
    let above = table.iter().filter(|(_, share)| *share >= threshold).count();
    let out = above.saturating_sub(1);
    if out == 0 || table.len() - out < least {
        return table;
    }
    let without = normalised(table[out..].to_vec());
    let share_of = |token: u32| without.iter().find(|(other, _)| *other == token).map_or(0.0, |(_, share)| *share);
    let mixed =
        table.iter().map(|(token, share)| (*token, share * (1.0 - probability) + share_of(*token) * probability));
    normalised(mixed.collect())
}

fn dynamic(table: Table, temperature: f64, range: f64, exponent: f64) -> Table {
    let share = entropy(&table) / (table.len() as f64).ln();
    let (least, most) = ((temperature - range).max(0.0), temperature + range);
    tempered(table, least + (most - least) * share.powf(exponent))
}

fn first(table: Table, count: usize) -> Table {
    normalised(table.into_iter().take(count).collect())
}

fn nearly(table: Table, share: f64, least: usize) -> Table {
    let best = table[0].1;
    let kept = table.into_iter().enumerate().filter(|(place, (_, own))| *own >= share * best || *place < least);
    normalised(kept.map(|(_, one)| one).collect())
}

/// The value that chi-square passes once in a thousand times, by Wilson and Hilferty.
fn critical(freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + 3.0902 * spread.sqrt()).powi(3)
}

fn check_draws(params: SamplingParams, history: &[u32], logits: &[f32], expected: &Table) {
    const DRAWS: usize = 100_000;
    let mut counts = vec![0usize; logits.len()];
    let mut sampler = Sampler::new(params.clone(), 7);
    let mut scratch = logits.to_vec();
    for _ in 0..DRAWS {
        counts[sampler.sample(&mut scratch, history).unwrap() as usize] += 1;
    }
    assert_eq!(scratch, logits, "the logits are as before");
    let share =
        |token: usize| expected.iter().find(|(other, _)| *other as usize == token).map_or(0.0, |(_, share)| *share);
    let means: Vec<f64> = (0..counts.len()).map(|token| share(token) * DRAWS as f64).collect();
    for (token, (mean, count)) in means.iter().zip(&counts).enumerate() {
        assert!(*mean > 0.0 || *count == 0, "{params:?} drew {token}, which is cut");
    }
    let Chi { chi, cells, .. } = chi_square(&means, &counts);
    assert!(cells < 2.0 || chi <= critical(cells - 1.0), "{params:?}: chi-square {chi} of {cells} cells");
}

#[test]
fn tokens_are_drawn_as_the_references_say() {
    let logits = random_logits(3, 60);
    // XTC needs several likely ones.
    let even: Vec<f32> = [2.0, 1.9, 1.8, 1.6].into_iter().chain((0..30).map(|at| at as f32 * -0.05)).collect();
    let (logits, even) = (logits.as_slice(), even.as_slice());
    let all = || softmax(logits);
    let top = |table: Table, share: f64, least: usize| normalised(reaching(table, share, least, false));
    let base = open;
    let cases: Vec<(SamplingParams, &[f32], Table)> = vec![
        (SamplingParams { typical_p: 0.5, ..base() }, logits, typical(all(), 0.5, 0)),
        (SamplingParams { typical_p: 0.2, min_keep: 9, ..base() }, logits, typical(all(), 0.2, 9)),
        (SamplingParams { top_n_sigma: 1.0, ..base() }, logits, sigma(logits, 1.0)),
        (SamplingParams { top_n_sigma: 0.3, temperature: 1.5, ..base() }, logits, tempered(sigma(logits, 0.3), 1.5)),
        (
            SamplingParams { xtc_probability: 0.4, xtc_threshold: 0.05, ..base() },
            even,
            excluding(softmax(even), 0.4, 0.05, 0),
        ),
        (
            SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.1, ..base() },
            even,
            excluding(softmax(even), 1.0, 0.1, 0),
        ),
        (SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.6, ..base() }, even, softmax(even)),
        (SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.05, min_keep: 33, ..base() }, even, softmax(even)),
        (SamplingParams { dynatemp_range: 0.5, ..base() }, logits, dynamic(all(), 1.0, 0.5, 1.0)),
        (
            SamplingParams { temperature: 0.8, dynatemp_range: 1.5, dynatemp_exponent: 0.7, ..base() },
            logits,
            dynamic(all(), 0.8, 1.5, 0.7),
        ),
        (SamplingParams { top_p: 0.1, min_keep: 8, ..base() }, logits, top(all(), 0.1, 8)),
        (SamplingParams { min_p: 0.9, min_keep: 8, ..base() }, logits, nearly(all(), 0.9, 8)),
        // Mirostat that learns nothing cuts at twice its aim.
        (
            SamplingParams { mirostat: true, mirostat_tau: 1.5, mirostat_eta: 0.0, top_k: 1, ..base() },
            logits,
            normalised(all().into_iter().filter(|(_, share)| -share.log2() <= 3.0).collect()),
        ),
        // llama.cpp's order, and another one.
        (
            SamplingParams { top_k: 30, typical_p: 0.9, top_p: 0.8, min_p: 0.05, temperature: 0.7, ..base() },
            logits,
            tempered(nearly(top(typical(first(all(), 30), 0.9, 0), 0.8, 0), 0.05, 0), 0.7),
        ),
        (
            SamplingParams {
                samplers: Some(vec![Step::Temperature, Step::TopP, Step::TopK]),
                temperature: 2.0,
                top_p: 0.6,
                top_k: 20,
                min_p: 0.9,
                ..base()
            },
            logits,
            first(top(tempered(all(), 2.0), 0.6, 0), 20),
        ),
        (SamplingParams { samplers: Some(vec![]), temperature: 0.0, top_k: 1, ..base() }, logits, all()),
    ];
    for (params, logits, expected) in cases {
        check_draws(params, &[], logits, &expected);
    }
}

#[test]
fn repetitions_are_drawn_less() {
    let logits = random_logits(5, 20);
    // "3 4 5" comes twice, and would go on with 6; 9 follows only one of its tokens.
    let history = [3, 4, 5, 6, 1, 5, 9, 3, 4, 5];
    let params = SamplingParams { dry_multiplier: 0.5, dry_base: 2.0, dry_allowed_length: 1, ..open() };
    let mut penalised = logits.clone();
    penalised[6] -= 0.5 * 4.0;
    penalised[9] -= 0.5;
    check_draws(params.clone(), &history, &logits, &softmax(&penalised));
    // What lies further back than is looked for costs nothing, and neither does what stands before a breaker.
    let near = SamplingParams { dry_penalty_last_n: Some(5), ..params.clone() };
    let mut penalised = logits.clone();
    penalised[9] -= 0.5;
    check_draws(near, &history, &logits, &softmax(&penalised));
    check_draws(SamplingParams { dry_penalty_last_n: Some(0), ..params.clone() }, &history, &logits, &softmax(&logits));
    // It counts where the likeliest is taken, too.
    let mut sure = vec![0.0; 20];
    (sure[6], sure[2]) = (1.5, 1.0);
    let greedy = SamplingParams { temperature: 0.0, ..params };
    assert_eq!(Sampler::new(greedy.clone(), 1).sample(&mut sure, &history).unwrap(), 2);
    assert_eq!(Sampler::new(greedy, 1).sample(&mut sure, &[]).unwrap(), 6);
}

#[test]
fn penalties_take_their_place_in_the_order() {
    let logits = random_logits(6, 30);
    let history = [0, 1, 2, 3];
    let repeat = |table: Table| {
        let worth = |(token, share): (u32, f64)| {
            let logit = share.ln();
            (token, if history.contains(&token) { (logit * 3.0).exp() } else { share })
        };
        normalised(table.into_iter().map(worth).collect())
    };
    // Logits below 0, as logarithms of probabilities are.
    let low: Vec<f32> = {
        let total = logits.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
        logits.iter().map(|logit| (f64::from(*logit) - total) as f32).collect()
    };
    let params = SamplingParams { repeat_penalty: 3.0, top_k: 10, ..open() };
    let order = |steps: Vec<Step>| SamplingParams { samplers: Some(steps), ..params.clone() };
    check_draws(order(vec![Step::Penalties, Step::TopK]), &history, &low, &first(repeat(softmax(&low)), 10));
    check_draws(order(vec![Step::TopK, Step::Penalties]), &history, &low, &{
        let kept = softmax(&low).into_iter().take(10).collect();
        repeat(kept)
    });
    check_draws(order(vec![Step::TopK]), &history, &low, &first(softmax(&low), 10));
}

#[test]
fn mirostat_keeps_the_surprise_where_it_is_wanted() {
    let logits = random_logits(8, 200);
    let table = softmax(&logits);
    let surprise = |token: u32| -table.iter().find(|(other, _)| *other == token).unwrap().1.log2();
    for aim in [1.0f64, 2.5] {
        let params = SamplingParams { mirostat: true, mirostat_tau: aim as f32, mirostat_eta: 0.1, ..open() };
        let mut sampler = Sampler::new(params, 3);
        let mut scratch = logits.clone();
        let (mut most, mut sum) = (2.0 * aim, 0.0);
        for _ in 0..5000 {
            let token = sampler.sample(&mut scratch, &[]).unwrap();
            // The paper's rule, followed beside it: only what surprises at most so much, or else the likeliest.
            let kept: f64 = table.iter().map(|(_, share)| *share).filter(|share| -share.log2() <= most).sum();
            let is_best = token == table[0].0;
            assert!(surprise(token) <= most + 1e-9 || is_best, "{token} at {most}");
            let own = if kept > 0.0 { surprise(token) + kept.log2() } else { 0.0 };
            sum += own;
            most -= f64::from(0.1f32) * (own - aim);
        }
        assert!((sum / 5000.0 - aim).abs() < 0.05, "{} for {aim}", sum / 5000.0);
    }
}

#[test]
fn a_seed_draws_the_same_and_a_mask_is_a_smaller_vocabulary() {
    let logits = random_logits(9, 96);
    let few =
        SamplingParams { typical_p: 0.9, xtc_probability: 0.5, xtc_threshold: 0.05, dynatemp_range: 0.5, ..open() };
    let draw = |params: &SamplingParams, seed: u64, allowed: Option<&[u32]>| {
        let mut sampler = Sampler::new(params.clone(), seed);
        let mut scratch = logits.clone();
        (0..200).map(|_| sampler.sample_from(&mut scratch, &[1, 2, 3], allowed).unwrap()).collect::<Vec<_>>()
    };
    for params in [few.clone(), SamplingParams { mirostat: true, ..few }] {
        assert_eq!(draw(&params, 1, None), draw(&params, 1, None));
        assert_ne!(draw(&params, 1, None), draw(&params, 2, None));
        assert_eq!(draw(&params, 1, Some(&[u32::MAX; 3])), draw(&params, 1, None));
        assert!(draw(&params, 1, Some(&[0, 0xff00, 0])).iter().all(|token| (40..48).contains(token)));
        assert!(Sampler::new(params, 1).draw_elsewhere(0).is_none(), "a GPU does not draw so");
    }
}

#[test]
fn a_token_that_is_not_taken_changes_nothing() {
    let mut logits = random_logits(10, 50);
    let params =
        SamplingParams { mirostat: true, mirostat_tau: 2.0, mirostat_eta: 0.5, frequency_penalty: 1.0, ..open() };
    let mut sampler = Sampler::new(params, 1);
    sampler.sample(&mut logits, &[]).unwrap();
    let (surprise, counts) = (sampler.surprise[0], sampler.sampled.clone());
    let token = sampler.sample(&mut logits, &[]).unwrap();
    assert_ne!(sampler.surprise[0], surprise);
    sampler.reject(token);
    sampler.sampled.retain(|_, count| *count > 0);
    assert_eq!((sampler.surprise[0], &sampler.sampled), (surprise, &counts));
}

#[test]
fn wrong_values_are_refused_by_name() {
    let read = |name: &str, value: Json| {
        SamplingParams::from_request(json!({ name: value }).as_object().unwrap(), RequestKind::Chat)
    };
    for (name, value) in [
        ("typical_p", json!(1.1)),
        ("top_n_sigma", json!(-2)),
        ("xtc_probability", json!(-0.1)),
        ("xtc_threshold", json!(2)),
        ("dry_multiplier", json!(-1)),
        ("dry_base", json!(0.5)),
        ("dry_allowed_length", json!(-1)),
        ("dry_penalty_last_n", json!(-2)),
        ("dry_sequence_breakers", json!("x")),
        ("dry_sequence_breakers", json!([""])),
        ("mirostat", json!(1)),
        ("mirostat_tau", json!(-1)),
        ("mirostat_eta", json!(2)),
        ("dynatemp_range", json!(3)),
        ("dynatemp_exponent", json!(-1)),
        ("min_keep", json!(1.5)),
        ("samplers", json!(["top_k", "sharpen"])),
        ("samplers", json!(["typ_p", "typical_p"])),
        ("samplers", json!("kfypmxt")),
    ] {
        assert_eq!(read(name, value.clone()).unwrap_err().details["name"], name, "{name}: {value}");
    }
    let params = read("samplers", json!(["min_p", "typical_p"])).unwrap();
    assert_eq!(params.samplers, Some(vec![Step::MinP, Step::TypicalP]));
    assert_eq!(read("dry_penalty_last_n", json!(-1)).unwrap().dry_penalty_last_n, None);
    assert!(read("mirostat", json!(2)).unwrap().mirostat);
}
