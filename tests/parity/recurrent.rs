//! What has a state that holds the whole past, and the copies of parts of rows that come with it.

use super::support::program::Writer;
use super::{Bench, passes};
use wasm_chord::gpu::Pass;
use wasm_chord::program::*;
use wasm_chord::quant::Dtype;

const VOCABULARY: usize = 64;

/// The first position among them, single tokens, few and many, each going on where those before it ended.
fn all() -> Vec<Pass> {
    passes(0, VOCABULARY, &[1, 1, 3, 33, 1, 5, 70])
}

fn writer() -> Writer {
    Writer::new(Dtype::F32, 32, VOCABULARY, 1).scaled(10.0)
}

/// Runs that are no whole quads, into rows that have something, and one run put several times.
pub fn copy(bench: &Bench) -> Result<(), String> {
    let runs = |first, step| Runs { first, step };
    for (src, dst, run, count, from, to) in [
        (32, 32, 32, 1, runs(0, 0), runs(0, 0)),
        (96, 32, 32, 1, runs(64, 0), runs(0, 0)),
        (70, 33, 3, 7, runs(1, 10), runs(2, 4)),
        (12, 260, 5, 20, runs(7, 0), runs(1, 12)),
        (1000, 500, 1, 500, runs(0, 2), runs(0, 1)),
    ] {
        let mut w = writer();
        let [src_slot, dst_slot] = [src, dst].map(|width| w.project(RESIDUAL, width));
        w.op(Op::Copy { src: src_slot, dst: dst_slot, run, count, from, to });
        w.multiply(dst_slot, RESIDUAL);
        bench.run(&format!("{count} runs of {run} of {src} into {dst}"), w.head(), all(), bench.ways())?;
    }
    Ok(())
}

/// Channels of several workgroups and of none whole, over as many tokens as there is room for.
pub fn conv(bench: &Bench) -> Result<(), String> {
    for (width, taps, has_bias) in [(4, 1, false), (36, 2, true), (64, 3, true), (1000, 3, false), (8, 8, true)] {
        let mut w = writer();
        let slot = w.project(RESIDUAL, width);
        // One is without a kernel, which delays.
        let kernel = (width != 36).then(|| w.vector(width * (taps + 1)));
        let bias = has_bias.then(|| w.vector(width));
        let state = w.program.push_state(State::Conv { width, taps });
        w.op(Op::ShortConv { state, slot, kernel, bias });
        w.multiply(slot, RESIDUAL);
        bench.run(&format!("{width} channels over {taps} tokens"), w.head(), all(), bench.ways())?;
    }
    Ok(())
}

/// As Mamba has it, many heads of one row with a rate for each column, and as Mamba 2, few with one rate.
pub fn scan(bench: &Bench) -> Result<(), String> {
    for (heads, rows, columns, groups, has_rates, has_bias) in [
        (64, 1, 16, 1, true, true),
        (132, 1, 6, 2, true, false),
        (4, 16, 32, 2, false, true),
        (3, 4, 5, 3, false, false),
        (8, 20, 8, 1, false, true),
    ] {
        let mut w = writer();
        let input = w.project(RESIDUAL, heads * rows);
        let step = w.project(RESIDUAL, heads);
        let [key, query] = [(); 2].map(|()| w.project(RESIDUAL, groups * columns));
        let dst = w.slot(heads * rows);
        let bias = has_bias.then(|| w.vector(heads));
        let rate = w.vector(heads * if has_rates { columns } else { 1 });
        let skip = w.vector(heads);
        let state = w.program.push_state(State::Recurrent { heads, rows, columns });
        w.op(Op::Scan { state, input, step, key, query, dst, bias, rate, skip, groups });
        w.multiply(dst, RESIDUAL);
        bench.run(&format!("{heads} heads of {rows} × {columns}"), w.head(), all(), bench.ways())?;
    }
    Ok(())
}

/// Keys of unit length, as all models have them, with a decay for each head and for each of its keys.
pub fn delta(bench: &Bench) -> Result<(), String> {
    for (heads, rows, columns, groups, interleaved, has_decays) in [
        (4, 16, 32, 2, true, false),
        (4, 16, 32, 2, false, false),
        (6, 12, 8, 3, false, true),
        (2, 70, 4, 1, false, true),
        (1, 128, 128, 1, false, false),
    ] {
        let mut w = writer();
        let [query, key] = [(); 2].map(|()| w.project(RESIDUAL, groups * columns));
        for slot in [query, key] {
            let (weight, bias) = (None, None);
            w.op(Op::Norm { kind: Norm::Rms, src: slot, weight, bias, dst: slot, width: columns, epsilon: 1e-6 });
            w.op(Op::Scale { slot, factor: 1.0 / (columns as f32).sqrt() });
        }
        let value = w.project(RESIDUAL, heads * rows);
        let decays = heads * if has_decays { columns } else { 1 };
        let [decay, beta] = [decays, heads].map(|width| w.project(RESIDUAL, width));
        let dst = w.slot(heads * rows);
        let (bias, rate) = (w.vector(decays), w.vector(heads));
        let state = w.program.push_state(State::Recurrent { heads, rows, columns });
        w.op(Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups, interleaved });
        w.multiply(dst, RESIDUAL);
        let name = if interleaved { " interleaved" } else { "" };
        bench.run(&format!("{heads} heads of {rows} × {columns}{name}"), w.head(), all(), bench.ways())?;
    }
    Ok(())
}

/// With what is erased and without, answered by the state after the token and before it.
pub fn wkv(bench: &Bench) -> Result<(), String> {
    for (heads, rows, columns, erases, early) in
        [(4, 16, 16, true, false), (2, 64, 64, true, false), (3, 12, 8, false, true), (2, 70, 4, false, false)]
    {
        let mut w = writer();
        let wide = heads * columns;
        let [query, key, removed, added] = [(); 4].map(|()| w.project(RESIDUAL, wide));
        for slot in [query, key, removed, added] {
            let (weight, bias) = (None, None);
            w.op(Op::Norm { kind: Norm::Rms, src: slot, weight, bias, dst: slot, width: columns, epsilon: 1e-6 });
            w.op(Op::Scale { slot, factor: 0.5 / (columns as f32).sqrt() });
        }
        let (value, decay) = (w.project(RESIDUAL, heads * rows), w.project(RESIDUAL, wide));
        w.op(Op::Activate { slot: decay, activation: Activation::Sigmoid });
        w.op(Op::Scale { slot: decay, factor: -0.6 });
        let dst = w.slot(heads * rows);
        let state = w.program.push_state(State::Recurrent { heads, rows, columns });
        let erase = erases.then_some([removed, added]);
        w.op(Op::Wkv { state, query, key, value, decay, erase, dst, early });
        w.multiply(dst, RESIDUAL);
        bench.run(&format!("{heads} heads of {rows} × {columns}"), w.head(), all(), bench.ways())?;
    }
    Ok(())
}

/// Heads of a quad, of many, and one as wide as a row.
pub fn echo(bench: &Bench) -> Result<(), String> {
    for ways in bench.sums() {
        for (heads, keys, values) in [(8, 4, 4), (3, 20, 12), (1, 1000, 1000)] {
            let mut w = writer();
            let [query, key] = [(); 2].map(|()| w.project(RESIDUAL, heads * keys));
            let value = w.project(RESIDUAL, heads * values);
            let dst = w.slot(heads * values);
            w.op(Op::Echo { query, key, value, dst, heads });
            w.multiply(dst, RESIDUAL);
            bench.run(&format!("{heads} heads of {keys}"), w.head(), all(), ways)?;
        }
    }
    Ok(())
}
