//! Grouped-query attention over the cache of keys and values.

use super::kv::KvCache;
use super::vector;
use crate::program::{Mask, StateId, alibi_slope};
use std::ops::Range;

/// What a call of [`attend`] computes; the fields of `Op::Attention`.
pub struct Attention<'a> {
    pub state: StateId,
    /// Where the cache has the sequence's first position.
    pub first: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub value_dim: usize,
    pub scale: f32,
    pub mask: Mask,
    pub softcap: Option<f32>,
    pub sinks: Option<&'a [f32]>,
    pub alibi: Option<f32>,
}

/// Tokens whose queries share one pass over the keys and values.
const TILE: usize = 8;

/// Positions whose keys, or values, stay in the nearest cache while all queries of a tile meet them.
const BLOCK: usize = 64;

/// Scores lie at their position modulo this, with those that a token does not see as −∞ around them: so
/// they are added in the same order, and a token's result is the same to the bit, in whatever batch it is.
const ALIGNED: usize = vector::LANES;

/// Scratch memory of attention, allocated once.
pub struct Scratch {
    scores: Vec<f32>,
    /// Where the queries of a tile begin, and its results.
    queries: Vec<usize>,
    sums: Vec<usize>,
}

impl Scratch {
    /// Scratch for `group` query heads a key head, and `context` positions.
    pub fn new(group: usize, context: usize, batch: usize) -> crate::Result<Scratch> {
        let rows = group * batch.min(TILE);
        Ok(Scratch {
            scores: super::memory::zeroed(rows.saturating_mul(context.next_multiple_of(ALIGNED)))?,
            queries: super::memory::zeroed(rows)?,
            sums: super::memory::zeroed(rows)?,
        })
    }

    /// Its size, in bytes.
    pub fn bytes(group: usize, context: usize, batch: usize) -> u64 {
        let rows = group as u64 * batch.min(TILE) as u64;
        rows * (4 * context.next_multiple_of(ALIGNED) as u64 + 2 * size_of::<usize>() as u64)
    }
}

/// Attends from the queries of consecutive tokens, the first at the first of `positions`, which end where the keys do;
/// `query` and `dst` are token-major.
pub fn attend(
    a: &Attention,
    cache: &KvCache,
    query: &[f32],
    dst: &mut [f32],
    positions: Range<usize>,
    scratch: &mut Scratch,
) {
    let tokens = query.len() / (a.heads * a.head_dim);
    for first in (0..tokens).step_by(TILE) {
        let last = tokens.min(first + TILE);
        for head in 0..a.kv_heads {
            tile(a, cache, query, dst, positions.clone(), first..last, head, scratch);
        }
    }
}

/// One key-value head for the queries of a few tokens.
#[allow(clippy::too_many_arguments)]
fn tile(
    a: &Attention,
    cache: &KvCache,
    query: &[f32],
    dst: &mut [f32],
    positions: Range<usize>,
    tokens: Range<usize>,
    kv_head: usize,
    scratch: &mut Scratch,
) {
    let group = a.heads / a.kv_heads;
    let visible = |token: usize| {
        let at = positions.start + token;
        a.mask.first(at)..a.mask.end(at, positions.end)
    };
    let (first, end) = (visible(tokens.start).start, visible(tokens.end - 1).end);
    let start = first / ALIGNED * ALIGNED;
    let span = (end - start).next_multiple_of(ALIGNED);
    let (width, value_width) = (a.heads * a.head_dim, a.heads * a.value_dim);
    let rows = || tokens.clone().flat_map(move |t| (0..group).map(move |g| (t, kv_head * group + g))).enumerate();

    let Scratch { scores, queries, sums } = scratch;
    queries.clear();
    queries.extend(rows().map(|(_, (token, head))| token * width + head * a.head_dim));
    sums.clear();
    sums.extend(rows().map(|(_, (token, head))| token * value_width + head * a.value_dim));
    let blocks = || (first..end).step_by(BLOCK).map(|at| at..end.min(at + BLOCK));
    let placed = |block: &Range<usize>| a.first + block.start..a.first + block.end;

    for block in blocks() {
        let keys = cache.keys(a.state, kv_head, placed(&block));
        keys.dots(a.head_dim, query, queries, a.scale, &mut scores[block.start - start..], span);
    }
    for (index, (token, head)) in rows() {
        let (scores, seen) = (&mut scores[index * span..][..span], visible(token));
        scores[..seen.start - start].fill(f32::NEG_INFINITY);
        scores[seen.end - start..].fill(f32::NEG_INFINITY);
        let visible = &mut scores[seen.start - start..seen.end - start];
        if let Some(cap) = a.softcap {
            visible.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
        }
        if let Some(most) = a.alibi {
            let slope = alibi_slope(most, a.heads, head);
            let distances = seen.map(|at| (positions.start + token).abs_diff(at) as f32);
            visible.iter_mut().zip(distances).for_each(|(score, distance)| *score -= slope * distance);
        }
        match a.sinks {
            None => vector::softmax(scores),
            Some(sinks) => softmax_with_sink(scores, sinks[head]),
        }
        dst[token * value_width + head * a.value_dim..][..a.value_dim].fill(0.0);
    }
    for block in blocks() {
        // What a token does not see has no weight.
        let values = cache.values(a.state, kv_head, placed(&block));
        values.add_weighted(a.value_dim, &scores[block.start - start..], span, dst, sums);
    }
}

/// The softmax of `scores` and one more, whose share is left out.
fn softmax_with_sink(scores: &mut [f32], sink: f32) {
    let highest = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let before = highest(scores);
    vector::softmax(scores);
    // The likeliest of them is e⁰ of their sum.
    let sum = 1.0 / highest(scores);
    vector::scale(scores, sum / (sum + (sink - before).exp()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Kv, KvFormat, State};

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| ((i as f32 + 1.0) * seed).sin()).collect()
    }

    /// Attention by its definition, in f64, over f32 keys and values that f16 holds exactly.
    fn naive(
        a: &Attention,
        keys: &[f32],
        values: &[f32],
        query: &[f32],
        token: usize,
        [position, end]: [usize; 2],
        head: usize,
    ) -> Vec<f64> {
        let group = a.heads / a.kv_heads;
        let q = &query[(token * a.heads + head) * a.head_dim..][..a.head_dim];
        let visible = |at: usize| match a.mask {
            Mask::Causal => at <= position,
            Mask::Window(w) => at <= position && position - at < w,
            Mask::Chunked(n) => at <= position && at / n == position / n,
            Mask::Full => true,
            Mask::Around(n) => at.abs_diff(position) <= n,
        };
        let score = |at: usize| {
            let k = &keys[(at * a.kv_heads + head / group) * a.head_dim..][..a.head_dim];
            let dot: f64 =
                q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>() * f64::from(a.scale);
            let score = a.softcap.map_or(dot, |c| f64::from(c) * (dot / f64::from(c)).tanh());
            // Of six heads the first four have slopes of a geometric series, the others those between.
            let slopes = [2.0, 4.0, 6.0, 8.0, 1.0, 3.0]
                .map(|power: f64| (-power / 8.0 * f64::from(a.alibi.unwrap_or(0.0))).exp2());
            let fall = if a.alibi.is_some() { slopes[head] } else { 0.0 };
            score - fall * position.abs_diff(at) as f64
        };
        let weights: Vec<f64> = (0..end).map(|at| if visible(at) { score(at).exp() } else { 0.0 }).collect();
        let sum: f64 = weights.iter().sum::<f64>() + a.sinks.map_or(0.0, |sinks| f64::from(sinks[head]).exp());
        let value = |at: usize, i: usize| f64::from(values[(at * a.kv_heads + head / group) * a.value_dim + i]);
        (0..a.value_dim).map(|i| weights.iter().enumerate().map(|(at, w)| w / sum * value(at, i)).sum()).collect()
    }

    #[test]
    fn attention_agrees_with_its_definition() {
        agrees_with_its_definition(KvFormat::F16, 20, 12);
        agrees_with_its_definition(KvFormat::Q8_0, 96, 32);
    }

    /// Values as a format has them.
    fn kept(format: KvFormat, dim: usize, mut values: Vec<f32>) -> Vec<f32> {
        for values in values.chunks_mut(dim) {
            match format {
                KvFormat::F16 => values.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32()),
                KvFormat::Q8_0 => {
                    let mut row = vec![0; format.row_bytes(dim)];
                    vector::q8_0::quantise(values, &mut row);
                    vector::q8_0::dequantise(&row, values);
                }
            }
        }
        values
    }

    fn agrees_with_its_definition(format: KvFormat, head_dim: usize, value_dim: usize) {
        let (heads, kv_heads, context) = (6, 2, 40);
        let (keys, vals) = (
            kept(format, head_dim, values(context * kv_heads * head_dim, 0.731)),
            kept(format, value_dim, values(context * kv_heads * value_dim, 1.377)),
        );
        let sink_logits = [0.5, -1.0, 3.0, 0.0, 90.0, -90.0];
        let sinks = Some(sink_logits.as_slice());
        for (mask, softcap, sinks, alibi) in [
            (Mask::Causal, None, None, None),
            (Mask::Window(5), None, None, None),
            (Mask::Window(1), None, None, None),
            (Mask::Causal, Some(2.0), None, None),
            (Mask::Window(64), Some(0.5), None, None),
            (Mask::Chunked(7), None, None, None),
            (Mask::Window(9), None, sinks, None),
            (Mask::Causal, None, None, Some(8.0)),
            (Mask::Full, None, None, None),
            (Mask::Full, None, None, Some(8.0)),
            (Mask::Around(4), None, None, None),
            (Mask::Around(0), None, sinks, None),
        ] {
            let a = Attention {
                state: StateId(0),
                first: 0,
                heads,
                kv_heads,
                head_dim,
                value_dim,
                scale: 0.3,
                mask,
                softcap,
                sinks,
                alibi,
            };
            let kv = Kv { format, ..Kv::new(kv_heads, head_dim, value_dim) };
            let mut cache = KvCache::new(&[State::Kv(kv)], context).expect("a small cache");
            cache.write(StateId(0), 0, &keys, &vals);
            // Batches of one token and of more than a tile, at the start and in the middle.
            for (position, tokens) in [(0, 1), (0, 19), (13, 1), (20, 11)] {
                let query = values(tokens * heads * head_dim, 0.917);
                let mut out = vec![f32::NAN; tokens * heads * value_dim];
                let mut scratch = Scratch::new(heads / kv_heads, context, tokens).expect("small scratch");
                // Some of the positions after the batch have keys, too.
                let end = (position + tokens + 3).min(context);
                attend(&a, &cache, &query, &mut out, position..end, &mut scratch);
                for token in 0..tokens {
                    for head in 0..heads {
                        let truth = naive(&a, &keys, &vals, &query, token, [position + token, end], head);
                        let got = &out[(token * heads + head) * value_dim..][..value_dim];
                        assert!(
                            truth.iter().zip(got).all(|(t, g)| (t - f64::from(*g)).abs() < 1e-5),
                            "{format:?}, {mask:?}, position {position}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_token_s_result_is_the_same_in_every_batch() {
        is_the_same_in_every_batch(KvFormat::F16, 20);
        is_the_same_in_every_batch(KvFormat::Q8_0, 64);
    }

    fn is_the_same_in_every_batch(format: KvFormat, dim: usize) {
        let (heads, kv_heads, context) = (4, 2, 75);
        for mask in [Mask::Causal, Mask::Window(7), Mask::Window(33), Mask::Chunked(9), Mask::Full, Mask::Around(6)] {
            let a = Attention {
                state: StateId(0),
                first: 0,
                heads,
                kv_heads,
                head_dim: dim,
                value_dim: dim,
                scale: 0.3,
                mask,
                softcap: None,
                sinks: None,
                alibi: None,
            };
            let kv = Kv { format, ..Kv::new(kv_heads, dim, dim) };
            let mut cache = KvCache::new(&[State::Kv(kv)], context).expect("a small cache");
            let (keys, vals) = (values(context * kv_heads * dim, 0.731), values(context * kv_heads * dim, 1.377));
            cache.write(StateId(0), 0, &keys, &vals);
            let query = values(context * heads * dim, 0.917);
            let attend_from = |position: usize, tokens: usize| {
                let width = heads * dim;
                let mut out = vec![f32::NAN; tokens * width];
                let mut scratch = Scratch::new(heads / kv_heads, context, tokens).expect("small scratch");
                let query = &query[position * width..][..tokens * width];
                attend(&a, &cache, query, &mut out, position..context, &mut scratch);
                out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let alone: Vec<Vec<u32>> = (0..context).map(|position| attend_from(position, 1)).collect();
            for (position, tokens) in [(0, context), (1, 16), (15, 9), (16, 17), (30, 45), (58, 17)] {
                assert_eq!(
                    attend_from(position, tokens),
                    alone[position..position + tokens].concat(),
                    "{format:?}, {mask:?}, {position}"
                );
            }
        }
    }
}
