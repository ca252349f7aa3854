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
            scores: super::memory::zeroed(rows.saturating_mul(context))?,
            row: super::memory::zeroed(head_dim)?,
        })
    }

    /// Its size, in bytes.
    pub fn bytes(group: usize, context: usize, head_dim: usize, batch: usize) -> u64 {
        4 * (group as u64 * batch.min(TILE) as u64 * context as u64 + head_dim as u64)
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
    let (start, end) = (visible(tokens.start).start, visible(tokens.end - 1).end);
    let span = end - start;
    let (width, value_width) = (a.heads * a.head_dim, a.heads * a.value_dim);
    let rows = || tokens.clone().flat_map(move |t| (0..group).map(move |g| (t, kv_head * group + g))).enumerate();

    let keys = cache.keys(a.layer, kv_head, a.head_dim);
    let row = &mut scratch.row[..a.head_dim];
    for at in start..end {
        vector::from_f16(&keys[at * a.head_dim..][..a.head_dim], row);
        for (index, (token, head)) in rows() {
            let q = &query[token * width + head * a.head_dim..][..a.head_dim];
            scratch.scores[index * span + at - start] =
                if visible(token).contains(&at) { vector::dot(q, row) * a.scale } else { f32::NEG_INFINITY };
        }
    }
    for (index, (token, head)) in rows() {
        let scores = &mut scratch.scores[index * span..][..span];
        if let Some(cap) = a.softcap {
            scores.iter_mut().for_each(|s| *s = cap * (*s / cap).tanh());
        }
        vector::softmax(scores);
        dst[token * value_width + head * a.value_dim..][..a.value_dim].fill(0.0);
    }
    let values = cache.values(a.layer, kv_head, a.value_dim);
    let row = &mut scratch.row[..a.value_dim];
    for at in start..end {
        vector::from_f16(&values[at * a.value_dim..][..a.value_dim], row);
        for (index, (token, head)) in rows() {
            let weight = scratch.scores[index * span + at - start];
            if weight != 0.0 {
                vector::axpy(&mut dst[token * value_width + head * a.value_dim..][..a.value_dim], weight, row);
            }
        }
    }
}
