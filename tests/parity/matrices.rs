//! What reads matrices: rows of a table, products with one token and with many, and activations prepared for them.

use super::support::program::Writer;
use super::{Bench, passes};
use wasm_chord::gpu::Ways;
use wasm_chord::gpu::shaders::Arithmetic;
use wasm_chord::program::*;
use wasm_chord::quant::Dtype;

/// Rows that are no whole quad and no whole tile.
const VOCABULARY: usize = 70;

/// Widths of a format: what it allows that is awkward, and more than goes through workgroup memory at once.
fn widths(dtype: Dtype) -> [usize; 2] {
    match dtype.block_values() {
        1 => [100, 2276],
        32 => [96, 2272],
        _ => [256, 2304],
    }
}

/// Tables of one buffer and of several.
pub fn embed(bench: &Bench) -> Result<(), String> {
    for dtype in Dtype::ALL {
        for width in widths(dtype) {
            for scale in [1.0, 11.3] {
                let program = Writer::new(dtype, width, VOCABULARY, 0).scaled(scale).head();
                let what = format!("{} {width} times {scale}", dtype.name());
                bench.run(&what, program, passes(5, VOCABULARY, &[1, 3, 41]), bench.ways())?;
            }
        }
    }
    // Beside the residual stream, and rows of positions.
    let mut w = Writer::new(Dtype::Q8_0, 256, VOCABULARY, 1);
    let beside = w.slot(96);
    let [table, positions] =
        [(VOCABULARY, 96), (64, 256)].map(|(rows, width)| w.program.add_weight(1, Dtype::Q8_0, [rows, width], true));
    w.op(Op::Embed { table, dst: beside, scale: 3.0 });
    w.op(Op::EmbedPosition { table: positions, dst: RESIDUAL });
    w.multiply(beside, RESIDUAL);
    bench.run("beside, and positions", w.head(), passes(5, VOCABULARY, &[1, 3, 41]), bench.ways())?;
    let small = bench.with(|options| options.buffer_bytes_max = Some(280_000));
    let program = Writer::new(Dtype::F32, 1024, 300, 0).head();
    small.run("slabs", program, passes(0, 300, &[1, 3, 30]), small.ways())
}

/// Products of every form: fused and apart, with biases and scales, parts of one matrix, gated, and added to
/// what is there.
fn products(dtype: Dtype, width: usize, activation: Activation) -> Program {
    let mut w = Writer::new(dtype, width, VOCABULARY, 1);
    let normed = w.slot(width);
    w.norm(RESIDUAL, normed);
    let widths = [70, 4, 33];
    let [bias, scale] = [70, 1].map(|width| Some(w.vector(width)));
    let epilogues = [
        Epilogue { bias, scale, bias_first: false, accumulate: false },
        Epilogue { scale, ..Epilogue::default() },
        Epilogue { bias, scale, bias_first: true, accumulate: false },
    ];
    for (width, epilogue) in widths.into_iter().zip(epilogues) {
        let dst = w.slot(width);
        w.multiply_with(normed, dst, epilogue);
    }
    // Two parts of one matrix, of which the second goes where something is.
    let parts = w.slot(140);
    let whole = w.matrix(normed, parts);
    let dst = w.project(normed, 72);
    let part = RowView { first_row: 68, rows: 72, ..whole };
    // A bias is one of all the matrix's rows.
    let bias = Some(w.vector(140));
    w.op(Op::MatMul { view: part, src: normed, dst, epilogue: Epilogue { accumulate: true, bias, ..epilogues[0] } });
    w.norm(RESIDUAL, normed);
    let [gate, up] = [256, 256].map(|width| w.project(normed, width));
    w.op(Op::Gate { gate, up, activation });
    w.multiply(gate, RESIDUAL);
    w.head()
}

/// Experts that read one row, experts that read their own, and their sum.
fn experts(dtype: Dtype, all: usize, used: usize, has_bias: bool) -> Program {
    let width = 256;
    let mut w = Writer::new(dtype, width, VOCABULARY, 1);
    let normed = w.slot(width);
    w.norm(RESIDUAL, normed);
    let logits = w.project(normed, all);
    let choice = w.slot(2 * used);
    let routing = Routing { scores: Scores::Softmax, bias: None, normalise: true, scale: 1.5 };
    w.op(Op::Route { logits, choice, used, routing });
    let [gate, up, down] = [used * width, used * width, used * width].map(|width| w.slot(width));
    let mut multiply = |src, dst| {
        let weight = w.program.add_weight(1, dtype, [all * width, width], true);
        let view = RowView { weight, first_row: 0, rows: width };
        let scale = Some(w.vector(all));
        let bias = has_bias.then(|| w.vector(all * width));
        w.op(Op::ExpertMatMul { view, src, shared: src == normed, dst, choice, used, scale, bias });
    };
    multiply(normed, gate);
    multiply(normed, up);
    w.op(Op::Gate { gate, up, activation: Activation::Silu });
    let view =
        RowView { weight: w.program.add_weight(1, dtype, [all * width, width], true), first_row: 0, rows: width };
    w.op(Op::ExpertMatMul { view, src: gate, shared: false, dst: down, choice, used, scale: None, bias: None });
    w.op(Op::ExpertSum { src: down, dst: RESIDUAL, choice, used });
    w.head()
}

/// Single tokens and few, with norms and activations joined and without, and rows cut into several dispatches.
pub fn matvec(bench: &Bench) -> Result<(), String> {
    let counts = || passes(0, VOCABULARY, &[1, 3]);
    for ways in bench.sums() {
        let what = |what: String| format!("{what}{}", if ways.kernels.subgroups { " with subgroups" } else { "" });
        for dtype in Dtype::ALL {
            for (width, activation) in widths(dtype).into_iter().zip([Activation::Silu, Activation::Gelu]) {
                let program = products(dtype, width, activation);
                bench.run(&what(format!("{} {width}", dtype.name())), program, counts(), ways)?;
            }
        }
        let apart = Ways { fuses: false, ..ways };
        bench.run(&what("apart".into()), products(Dtype::Q5_1, 96, Activation::Silu), counts(), apart)?;
        for dtype in [Dtype::F32, Dtype::Q4_0, Dtype::Q6_K] {
            for (all, used) in [(3, 1), (8, 2), (5, 5)] {
                let what = what(format!("{used} of {all} experts in {}", dtype.name()));
                bench.run(&what, experts(dtype, all, used, false), counts(), ways)?;
                bench.run(&format!("{what} with biases"), experts(dtype, all, used, true), counts(), ways)?;
                bench.run(&format!("{what} apart"), experts(dtype, all, used, false), counts(), apart)?;
            }
        }
    }
    let cut = bench.with(|options| options.products_max = 40_000);
    let program = products(Dtype::Q4_K, 768, Activation::Silu);
    cut.run("cut into several dispatches", program, counts(), cut.ways())?;
    let small = bench.with(|options| options.buffer_bytes_max = Some(280_000));
    small.run("slabs", Writer::new(Dtype::F32, 1024, 300, 0).head(), passes(0, 300, &[1]), small.ways())
}

/// Prompts that are no whole tile, one that is, and one of two.
pub fn matmat(bench: &Bench) -> Result<(), String> {
    for ways in bench.arithmetics() {
        let arithmetic = ways.kernels.tiles.unwrap_or_default();
        let is_block = |dtype: &Dtype| dtype.block_values() > 1;
        for dtype in Dtype::ALL.into_iter().filter(|dtype| arithmetic == Arithmetic::Single || is_block(dtype)) {
            let what = format!("{} in {}", dtype.name(), arithmetic.name());
            let [width, _] = widths(dtype);
            let program = products(dtype, width, Activation::Silu);
            bench.run(&what, program, passes(0, VOCABULARY, &[5, 64, 66]), ways)?;
        }
        let cut = bench.with(|options| options.products_max = 1_000_000);
        let program = products(Dtype::Q4_K, 768, Activation::Silu);
        let what = format!("cut into several dispatches in {}", arithmetic.name());
        cut.run(&what, program, passes(0, VOCABULARY, &[33]), ways)?;
    }
    Ok(())
}

/// Activations of every size, and none, of the residual stream and of a slot.
fn prepare(bench: &Bench, arithmetic: Arithmetic) -> Result<(), String> {
    let Some(ways) = bench.arithmetics().into_iter().find(|ways| ways.kernels.tiles == Some(arithmetic)) else {
        println!("skipped: the device has no {}", arithmetic.name());
        return Ok(());
    };
    // More chunks than a workgroup has invocations.
    for width in [32, 96, 2272] {
        for scale in [1.0, 1e-12, 1e9, 0.0] {
            let mut w = Writer::new(Dtype::Q8_0, width, VOCABULARY, 1).scaled(scale);
            let slot = w.project(RESIDUAL, 96);
            w.project(slot, 32);
            let passes = passes(0, VOCABULARY, &[5, 8, 66]);
            bench.run(&format!("{width} times {scale:e}"), w.head(), passes, ways)?;
        }
    }
    Ok(())
}

pub fn prepare_half(bench: &Bench) -> Result<(), String> {
    prepare(bench, Arithmetic::Half)
}

pub fn prepare_integer(bench: &Bench) -> Result<(), String> {
    prepare(bench, Arithmetic::Integer)
}
