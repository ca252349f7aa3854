//! Causal grouped-query attention over the f16 cache.

use super::kv::KvCache;
use super::vector;

/// What a call of [`attend`] computes; the fields of `Op::Attention`.
pub struct Attention {
    pub layer: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub value_dim: usize,
    pub scale: f32,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
}

/// Tokens whose queries share one pass over the keys and values.
const TILE: usize = 8;

/// Scores lie at their position modulo this, with those that a token does not see as −∞ around them: so
/// they are added in the same order, and a token's result is the same to the bit, in whatever batch it is.
const ALIGNED: usize = vector::LANES;

/// Scratch memory of attention, allocated once.
pub struct Scratch {
    scores: Vec<f32>,
    row: Vec<f32>,
}

impl Scratch {
    /// Scratch for `group` query heads a key head, `context` positions and heads of up to `head_dim`.
    pub fn new(group: usize, context: usize, head_dim: usize, batch: usize) -> crate::Result<Scratch> {
        let rows = group * batch.min(TILE);
        Ok(Scratch {
            scores: super::memory::zeroed(rows.saturating_mul(context.next_multiple_of(ALIGNED)))?,
            row: super::memory::zeroed(head_dim)?,
        })
    }

    /// Its size, in bytes.
    pub fn bytes(group: usize, context: usize, head_dim: usize, batch: usize) -> u64 {
        4 * (group as u64 * batch.min(TILE) as u64 * context.next_multiple_of(ALIGNED) as u64 + head_dim as u64)
    }
}

/// Attends from `tokens` queries at `position` and after; `query` and `dst` are token-major.
pub fn attend(a: &Attention, cache: &KvCache, query: &[f32], dst: &mut [f32], position: usize, scratch: &mut Scratch) {
    let tokens = query.len() / (a.heads * a.head_dim);
    for first in (0..tokens).step_by(TILE) {
        let last = tokens.min(first + TILE);
        for head in 0..a.kv_heads {
            tile(a, cache, query, dst, position, first..last, head, scratch);
        }
    }
}

/// One key-value head for the queries of a few tokens. A key or value row is converted from f16 once
/// for all of them.
#[allow(clippy::too_many_arguments)]
fn tile(
    a: &Attention,
    cache: &KvCache,
    query: &[f32],
    dst: &mut [f32],
    position: usize,
    tokens: std::ops::Range<usize>,
    kv_head: usize,
    scratch: &mut Scratch,
) {
    let group = a.heads / a.kv_heads;
    let visible = |token: usize| {
        let end = position + token + 1;
        a.window.map_or(0, |w| end.saturating_sub(w))..end
    };
    let (first, end) = (visible(tokens.start).start, visible(tokens.end - 1).end);
    let start = first / ALIGNED * ALIGNED;
    let span = (end - start).next_multiple_of(ALIGNED);
    let (width, value_width) = (a.heads * a.head_dim, a.heads * a.value_dim);
    let rows = || tokens.clone().flat_map(move |t| (0..group).map(move |g| (t, kv_head * group + g))).enumerate();

    let keys = cache.keys(a.layer, kv_head, a.head_dim);
    let row = &mut scratch.row[..a.head_dim];
    for (index, _) in rows() {
        scratch.scores[index * span..][..first - start].fill(f32::NEG_INFINITY);
        scratch.scores[index * span..][end - start..span].fill(f32::NEG_INFINITY);
    }
    for at in first..end {
        vector::from_f16(&keys[at * a.head_dim..][..a.head_dim], row);
        for (index, (token, head)) in rows() {
            let q = &query[token * width + head * a.head_dim..][..a.head_dim];
            let score = vector::dot(q, row) * a.scale;
            scratch.scores[index * span + at - start] = match (visible(token).contains(&at), a.softcap) {
                (false, _) => f32::NEG_INFINITY,
                (true, None) => score,
                (true, Some(cap)) => cap * (score / cap).tanh(),
            };
        }
    }
    for (index, (token, head)) in rows() {
        let scores = &mut scratch.scores[index * span..][..span];
        vector::softmax(scores);
        dst[token * value_width + head * a.value_dim..][..a.value_dim].fill(0.0);
    }
    let values = cache.values(a.layer, kv_head, a.value_dim);
    let row = &mut scratch.row[..a.value_dim];
    for at in first..end {
        vector::from_f16(&values[at * a.value_dim..][..a.value_dim], row);
        for (index, (token, head)) in rows() {
            let weight = scratch.scores[index * span + at - start];
            if weight != 0.0 {
                vector::axpy(&mut dst[token * value_width + head * a.value_dim..][..a.value_dim], weight, row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        position: usize,
        head: usize,
    ) -> Vec<f64> {
        let group = a.heads / a.kv_heads;
        let q = &query[(token * a.heads + head) * a.head_dim..][..a.head_dim];
        let visible = |at: usize| at <= position && a.window.is_none_or(|w| position - at < w);
        let score = |at: usize| {
            let k = &keys[(at * a.kv_heads + head / group) * a.head_dim..][..a.head_dim];
            let dot: f64 =
                q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>() * f64::from(a.scale);
            a.softcap.map_or(dot, |c| f64::from(c) * (dot / f64::from(c)).tanh())
        };
        let weights: Vec<f64> = (0..=position).map(|at| if visible(at) { score(at).exp() } else { 0.0 }).collect();
        let sum: f64 = weights.iter().sum();
        let value = |at: usize, i: usize| f64::from(values[(at * a.kv_heads + head / group) * a.value_dim + i]);
        (0..a.value_dim).map(|i| weights.iter().enumerate().map(|(at, w)| w / sum * value(at, i)).sum()).collect()
    }

    #[test]
    fn attention_agrees_with_its_definition() {
        let (heads, kv_heads, head_dim, value_dim, context) = (6, 2, 20, 12, 40);
        let halved = |v: Vec<f32>| v.into_iter().map(|v| half::f16::from_f32(v).to_f32()).collect::<Vec<f32>>();
        let (keys, vals) = (
            halved(values(context * kv_heads * head_dim, 0.731)),
            halved(values(context * kv_heads * value_dim, 1.377)),
        );
        for (window, softcap) in
            [(None, None), (Some(5), None), (Some(1), None), (None, Some(2.0)), (Some(64), Some(0.5))]
        {
            let a = Attention { layer: 0, heads, kv_heads, head_dim, value_dim, scale: 0.3, window, softcap };
            let mut cache =
                KvCache::new(&[(kv_heads * head_dim, kv_heads * value_dim)], context).expect("a small cache");
            cache.write(0, 0, context, &keys, &vals, head_dim);
            // Batches of one token and of more than a tile, at the start and in the middle.
            for (position, tokens) in [(0, 1), (0, 19), (13, 1), (20, 11)] {
                let query = values(tokens * heads * head_dim, 0.917);
                let mut out = vec![f32::NAN; tokens * heads * value_dim];
                let mut scratch = Scratch::new(heads / kv_heads, context, head_dim, tokens).expect("small scratch");
                attend(&a, &cache, &query, &mut out, position, &mut scratch);
                for token in 0..tokens {
                    for head in 0..heads {
                        let truth = naive(&a, &keys, &vals, &query, token, position + token, head);
                        let got = &out[(token * heads + head) * value_dim..][..value_dim];
                        assert!(
                            truth.iter().zip(got).all(|(t, g)| (t - f64::from(*g)).abs() < 1e-5),
                            "window {window:?}, position {position}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_token_s_result_is_the_same_in_every_batch() {
        let (heads, kv_heads, dim, context) = (4, 2, 20, 75);
        for window in [None, Some(7), Some(33)] {
            let a = Attention {
                layer: 0,
                heads,
                kv_heads,
                head_dim: dim,
                value_dim: dim,
                scale: 0.3,
                window,
                softcap: None,
            };
            let mut cache = KvCache::new(&[(kv_heads * dim, kv_heads * dim)], context).expect("a small cache");
            let (keys, vals) = (values(context * kv_heads * dim, 0.731), values(context * kv_heads * dim, 1.377));
            cache.write(0, 0, context, &keys, &vals, dim);
            let query = values(context * heads * dim, 0.917);
            let attend_from = |position: usize, tokens: usize| {
                let width = heads * dim;
                let mut out = vec![f32::NAN; tokens * width];
                let mut scratch = Scratch::new(heads / kv_heads, context, dim, tokens).expect("small scratch");
                attend(&a, &cache, &query[position * width..][..tokens * width], &mut out, position, &mut scratch);
                out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let alone: Vec<Vec<u32>> = (0..context).map(|position| attend_from(position, 1)).collect();
            for (position, tokens) in [(0, context), (1, 16), (15, 9), (16, 17), (30, 45), (58, 17)] {
                assert_eq!(
                    attend_from(position, tokens),
                    alone[position..position + tokens].concat(),
                    "{window:?}, {position}"
                );
            }
        }
    }
}
