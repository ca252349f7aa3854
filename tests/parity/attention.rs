//! Attention: of single tokens, of few, in tiles, and joined from parts.

use super::support::program::{Heads, Writer};
use super::{Bench, passes};
use wasm_chord::gpu::Pass;
use wasm_chord::program::*;
use wasm_chord::quant::Dtype;

const VOCABULARY: usize = 64;

const PLAIN: Heads = Heads { heads: 4, kv_heads: 2, head_dim: 64, value_dim: 64, window: None, softcap: None };

/// Whatever heads may be like: one key head for all or one each, values of another width, heads that are no
/// whole quads, windows that begin within a tile, and the widest.
const SHAPES: [Heads; 10] = [
    PLAIN,
    Heads { window: Some(5), ..PLAIN },
    Heads { heads: 6, head_dim: 20, value_dim: 12, softcap: Some(0.7), ..PLAIN },
    Heads { heads: 5, kv_heads: 1, head_dim: 80, value_dim: 80, window: Some(37), ..PLAIN },
    Heads { heads: 8, head_dim: 128, value_dim: 128, softcap: Some(5.0), ..PLAIN },
    Heads { heads: 3, kv_heads: 3, head_dim: 18, value_dim: 6, window: Some(33), ..PLAIN },
    Heads { heads: 7, kv_heads: 1, head_dim: 96, value_dim: 96, ..PLAIN },
    Heads { head_dim: 256, value_dim: 256, window: Some(64), ..PLAIN },
    Heads { heads: 2, head_dim: 512, value_dim: 512, ..PLAIN },
    Heads { heads: 2, kv_heads: 1, head_dim: 2, value_dim: 2, ..PLAIN },
];

/// What some models have beside that: chunks that end within a tile, tokens after the own one, sinks, and scores that
/// fall off with the distance.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    mask: Option<Mask>,
    has_sinks: bool,
    alibi: Option<f32>,
}

const BESIDE: [(Heads, Beside); 9] = [
    (PLAIN, Beside { mask: Some(Mask::Chunked(23)), has_sinks: false, alibi: None }),
    (Heads { heads: 6, window: Some(9), ..PLAIN }, Beside { mask: None, has_sinks: true, alibi: None }),
    (Heads { heads: 8, kv_heads: 1, ..PLAIN }, Beside { mask: None, has_sinks: true, alibi: None }),
    // Heads that are no power of two.
    (Heads { heads: 6, kv_heads: 6, head_dim: 18, ..PLAIN }, Beside { mask: None, has_sinks: false, alibi: Some(8.0) }),
    (Heads { kv_heads: 1, ..PLAIN }, Beside { mask: Some(Mask::Chunked(40)), has_sinks: true, alibi: Some(4.0) }),
    (PLAIN, Beside { mask: Some(Mask::Full), has_sinks: false, alibi: None }),
    (Heads { heads: 6, head_dim: 18, ..PLAIN }, Beside { mask: Some(Mask::Full), has_sinks: false, alibi: Some(8.0) }),
    (PLAIN, Beside { mask: Some(Mask::Around(3)), has_sinks: false, alibi: None }),
    (Heads { kv_heads: 4, ..PLAIN }, Beside { mask: Some(Mask::Around(37)), has_sinks: true, alibi: None }),
];

/// Attention between projections, and nothing else.
fn program(shape: Heads, beside: Beside) -> Program {
    let mut w = Writer::new(Dtype::F32, 32, VOCABULARY, 1);
    let (layer, slots) = w.heads(shape);
    slots[..3].iter().for_each(|dst| w.multiply(RESIDUAL, *dst));
    // Random weights and rows are around a tenth; scores should be well above one.
    w.attend(shape, layer, slots, 500.0 / (shape.head_dim as f32).sqrt());
    let with_sinks = beside.has_sinks.then(|| w.vector(shape.heads));
    if let Some(Op::Attention { mask, sinks, alibi, .. }) = w.program.ops[w.group].last_mut() {
        *mask = beside.mask.unwrap_or(*mask);
        (*sinks, *alibi) = (with_sinks, beside.alibi);
    }
    w.multiply(slots[3], RESIDUAL);
    w.head()
}

fn run(bench: &Bench, passes: impl Fn() -> Vec<Pass>) -> Result<(), String> {
    let plain = SHAPES.map(|shape| (shape, Beside::default()));
    plain.into_iter().chain(BESIDE).try_for_each(|(shape, beside)| {
        let mut program = program(shape, beside);
        let what = format!("{shape:?} {beside:?}");
        bench.run(&what, program.clone(), passes(), bench.ways())?;
        program.keep_in(KvFormat::Q8_0);
        let is_quantised = program.kv_formats().any(|format| format == KvFormat::Q8_0);
        if is_quantised {
            bench.run(&format!("{what} in q8_0"), program, passes(), bench.ways())?;
        }
        Ok(())
    })
}

/// Single tokens and few, with the first of a sequence among them, and more positions than a tile has.
pub fn attention(bench: &Bench) -> Result<(), String> {
    run(bench, || passes(0, VOCABULARY, &[1, 1, 3, 60, 1, 4, 64, 1, 2]))
}

/// Positions that are shared out evenly, unevenly, and among more workgroups than there are positions.
pub fn attention_reduce(bench: &Bench) -> Result<(), String> {
    run(bench, || {
        let mut passes = passes(0, VOCABULARY, &[1, 1, 60, 1, 1, 1, 70, 1, 1]);
        let splits = [1, 2, 1, 2, 3, 16, 1, 7, 16];
        passes.iter_mut().zip(splits).for_each(|(pass, splits)| pass.splits = splits);
        passes
    })
}

/// A prompt, and its continuations at odd positions.
pub fn attention_tiles(bench: &Bench) -> Result<(), String> {
    run(bench, || passes(0, VOCABULARY, &[33, 1, 17, 6, 93]))
}
