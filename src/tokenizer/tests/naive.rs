//! Merging against its definition: as long as some neighbours merge, the best pair does.

use super::*;
use std::collections::HashMap;

/// Merges the neighbours with the lowest number that `rank` gives, the leftmost first, until none is
/// left: quadratic and more, as the definition says it.
fn merge_naively(mut parts: Vec<Vec<u8>>, rank: impl Fn(&[u8], &[u8]) -> Option<i64>) -> Vec<Vec<u8>> {
    loop {
        let ranks = parts.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(&pair[0], &pair[1])?, at)));
        let Some((_, at)) = ranks.min() else { return parts };
        let right = parts.remove(at + 1);
        parts[at].extend(right);
    }
}

/// The halves of a merged token.
type Merge = (Vec<u8>, Vec<u8>);

/// A byte-level vocabulary with random merges.
fn random_bpe(numbers: &mut Numbers) -> (Vec<Token>, Vec<Merge>) {
    let (mut tokens, mut known, mut merges) = (bpe_base(), vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], vec![]);
    for _ in 0..40 {
        let (left, right) = (numbers.pick(&known), numbers.pick(&known));
        let merged = [left.clone(), right.clone()].concat();
        if merges.contains(&(left.clone(), right.clone())) || merged.len() > 12 {
            continue;
        }
        if !known.contains(&merged) {
            tokens.push(token(&alphabet(&merged), 0.0, NORMAL));
            known.push(merged);
        }
        merges.push((left, right));
    }
    (tokens, merges)
}

#[test]
fn bpe_merges_by_rank() {
    let mut numbers = Numbers(1);
    for _ in 0..60 {
        let (tokens, merges) = random_bpe(&mut numbers);
        let written: Vec<String> =
            merges.iter().map(|(left, right)| format!("{} {}", alphabet(left), alphabet(right))).collect();
        let tokenizer = load(bpe_metadata("gpt-2", &tokens, &written));
        let ids: HashMap<&str, u32> = (0..).zip(&tokens).map(|(id, token)| (token.text.as_str(), id)).collect();
        let ranks: HashMap<_, i64> = merges.iter().zip(0..).map(|((l, r), rank)| ((&l[..], &r[..]), rank)).collect();
        for _ in 0..50 {
            let text = numbers.text(&["a", "b", "c", "aa", "cab"], 40);
            let parts = text.bytes().map(|byte| vec![byte]).collect();
            let parts = merge_naively(parts, |left, right| ranks.get(&(left, right)).copied());
            let expected: Vec<u32> = parts.iter().map(|part| ids[alphabet(part).as_str()]).collect();
            assert_eq!(tokenizer.encode(&text, PLAIN).unwrap(), expected, "{text} with {written:?}");
            assert_eq!(tokenizer.decode(&expected).unwrap(), text);
        }
    }
}

/// An SPM vocabulary with random tokens and few different scores, so that ties occur.
fn random_spm(numbers: &mut Numbers) -> Vec<Token> {
    let mut tokens = spm_base();
    for part in ["\u{2581}", "a", "b", "é"] {
        tokens.push(token(part, -50.0, NORMAL));
    }
    for _ in 0..40 {
        let text: String = numbers.text(&["\u{2581}", "a", "b", "é", "ab"], 5);
        if !text.is_empty() && tokens.iter().all(|token| token.text != text) {
            tokens.push(token(&text, -(numbers.below(9) as f32) / 2.0, NORMAL));
        }
    }
    tokens
}

#[test]
fn spm_merges_by_score_and_falls_back_to_bytes() {
    let mut numbers = Numbers(2);
    for _ in 0..60 {
        let tokens = random_spm(&mut numbers);
        let tokenizer = load(spm_metadata(&tokens));
        let normal = |(id, token): (usize, &Token)| {
            (token.kind == NORMAL).then(|| (token.text.as_bytes().to_vec(), (id as u32, token.score)))
        };
        let known: HashMap<Vec<u8>, (u32, f32)> = tokens.iter().enumerate().filter_map(normal).collect();
        for _ in 0..50 {
            let text = numbers.text(&[" ", "a", "b", "é", "☃", "\0"], 30);
            let expected = spm_naively(&text, &known);
            let ids = tokenizer.encode(&text, PLAIN).unwrap();
            assert_eq!(ids, expected, "{text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
}

fn spm_naively(text: &str, known: &HashMap<Vec<u8>, (u32, f32)>) -> Vec<u32> {
    if text.is_empty() {
        return Vec::new();
    }
    let written = format!(" {text}").replace(' ', "\u{2581}");
    let parts = written.chars().map(|character| character.to_string().into_bytes()).collect();
    let parts = merge_naively(parts, |left, right| {
        let (_, score) = known.get(&[left, right].concat())?;
        Some((-score * 1000.0) as i64)
    });
    let ids = |part: Vec<u8>| match known.get(&part) {
        Some((id, _)) => vec![*id],
        None => part.iter().map(|byte| 3 + u32::from(*byte)).collect(),
    };
    parts.into_iter().flat_map(ids).collect()
}

/// A vocabulary of each sort that merges runs of `a` by doubling.
fn doubling() -> (Tokenizer, Tokenizer) {
    let runs: Vec<String> = (1..8).map(|power| "a".repeat(1 << power)).collect();
    let mut bytes = bpe_base();
    let mut scored = spm_base();
    scored.extend([token("\u{2581}", -9.0, NORMAL), token("a", -9.0, NORMAL)]);
    for run in &runs {
        bytes.push(token(run, 0.0, NORMAL));
        scored.push(token(run, -1.0 / run.len() as f32, NORMAL));
    }
    let merges: Vec<String> = runs.iter().map(|run| [&run[..run.len() / 2]; 2].join(" ")).collect();
    (load(bpe_metadata("gpt-2", &bytes, &merges)), load(spm_metadata(&scored)))
}

/// Entries of the queue that `text` makes, and its tokens.
fn work(tokenizer: &Tokenizer, text: &str) -> (usize, Vec<u32>) {
    let (mut merger, mut ids) = (Merger::default(), Vec::new());
    tokenizer.encode_plain(text, None, false, &mut merger, &mut ids);
    (merger.entries, ids)
}

#[test]
fn a_megabyte_of_one_character_takes_linear_work() {
    let (bpe, spm) = doubling();
    let size = 1 << 20;
    for (tokenizer, text) in [(&bpe, "a"), (&spm, "a"), (&bpe, " "), (&spm, " "), (&spm, "☃"), (&bpe, "\u{0}")] {
        let text = text.repeat(size);
        let (entries, ids) = work(tokenizer, &text);
        assert!(entries <= 3 * size, "{entries} entries");
        if text.starts_with('a') {
            assert_eq!(ids.len(), size / 128);
        }
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text, PARSE).unwrap()).unwrap(), text);
    }
}
