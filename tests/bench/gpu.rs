//! `cargo xtask bench gpu`: what the GPU backend reaches on this machine's adapter. Products of one matrix in
//! each format, and decode and prefill of whole models with random weights: `-- --shape tiny|small|1b|8b`, of one
//! format: `--format Q4_K`.

use std::time::Instant;
use wasm_chord::gpu::{BATCH_MAX, Device, DeviceOptions, Gpu, Ways};
use wasm_chord::op::*;
use wasm_chord::quant::Dtype;
use wasm_chord::quant::random::{Noise, random_rows};

/// A model's sizes.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    inner: usize,
    vocabulary: usize,
}

const SHAPES: [Shape; 4] = [
    // So small that dispatches are what costs.
    Shape { name: "tiny", layers: 8, width: 256, heads: 4, kv_heads: 2, inner: 256, vocabulary: 512 },
    Shape { name: "small", layers: 4, width: 512, heads: 8, kv_heads: 4, inner: 1536, vocabulary: 4096 },
    Shape { name: "1b", layers: 16, width: 2048, heads: 32, kv_heads: 8, inner: 8192, vocabulary: 128_256 },
    Shape { name: "8b", layers: 32, width: 4096, heads: 32, kv_heads: 8, inner: 14_336, vocabulary: 128_256 },
];

/// Writes a program as the model does, without a file.
struct Writer {
    program: Program,
    dtype: Dtype,
    group: usize,
}

impl Writer {
    fn slot(&mut self, width: usize) -> Slot {
        self.program.slots.push(width);
        Slot((self.program.slots.len() - 1) as u16)
    }

    fn weight(&mut self, dtype: Dtype, rows: usize, columns: usize, is_matrix: bool) -> WeightId {
        let id = WeightId(self.program.weights.len() as u32);
        let bytes = rows * dtype.row_bytes(columns as u64).expect("whole blocks") as usize;
        let group = self.group;
        let index = self.program.groups[group].weights.len();
        self.program.groups[group].weights.push(id);
        self.program.weights.push(Weight {
            name: String::new(),
            dtype,
            rows,
            columns,
            group,
            index,
            group_offset: 0,
            bytes,
            part: 0,
            file_offset: 0,
            is_matrix,
        });
        id
    }

    fn norm(&mut self, src: Slot, dst: Slot) {
        let width = self.program.slots[src.0 as usize];
        let weight = self.weight(Dtype::F32, 1, width, false);
        self.program.ops[self.group].push(Op::RmsNorm { src, weight, dst, width, epsilon: 1e-5 });
    }

    fn multiply(&mut self, src: Slot, dst: Slot) {
        let (columns, rows) = (self.program.slots[src.0 as usize], self.program.slots[dst.0 as usize]);
        let view = RowView { weight: self.weight(self.dtype, rows, columns, true), first_row: 0, rows };
        let epilogue = Epilogue { accumulate: dst == RESIDUAL, ..Epilogue::default() };
        self.program.ops[self.group].push(Op::MatMul { view, src, dst, epilogue });
    }
}

fn model(shape: Shape, dtype: Dtype) -> Program {
    let Shape { layers, width, heads, kv_heads, inner, vocabulary, .. } = shape;
    let head_dim = width / heads;
    let mut w = Writer {
        program: Program {
            slots: vec![width],
            weights: Vec::new(),
            ropes: vec![Rope {
                dims: head_dim,
                style: RopeStyle::Interleaved,
                base: 10_000.0,
                frequency_scale: 1.0,
                extrapolation: 0.0,
                attention_factor: 1.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                original_context: 2048.0,
                factors: None,
            }],
            groups: vec![Group { weights: Vec::new(), bytes: 0 }; layers + 2],
            ops: vec![Vec::new(); layers + 2],
            logits: RESIDUAL,
            kv_widths: vec![(kv_heads * head_dim, kv_heads * head_dim); layers],
            vocabulary,
        },
        dtype,
        group: 0,
    };
    let table = w.weight(dtype, vocabulary, width, true);
    w.program.ops[0].push(Op::Embed { table, dst: RESIDUAL, scale: 1.0 });
    let normed = w.slot(width);
    let query = w.slot(width);
    let (key, value) = (w.slot(kv_heads * head_dim), w.slot(kv_heads * head_dim));
    let attended = w.slot(width);
    let (gate, up) = (w.slot(inner), w.slot(inner));
    for layer in 0..layers {
        w.group = layer + 1;
        w.norm(RESIDUAL, normed);
        [query, key, value].into_iter().for_each(|dst| w.multiply(normed, dst));
        let ops = &mut w.program.ops[layer + 1];
        ops.push(Op::Rope { slot: query, heads, head_dim, rope: 0 });
        ops.push(Op::Rope { slot: key, heads: kv_heads, head_dim, rope: 0 });
        ops.push(Op::KvWrite { layer, key, value, head_dim });
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (window, softcap) = (None, None);
        ops.push(Op::Attention { layer, query, dst: attended, heads, kv_heads, head_dim, scale, window, softcap });
        w.multiply(attended, RESIDUAL);
        w.norm(RESIDUAL, normed);
        w.multiply(normed, gate);
        w.multiply(normed, up);
        w.program.ops[layer + 1].push(Op::Gate { gate, up, activation: Activation::Silu });
        w.multiply(gate, RESIDUAL);
    }
    w.group = layers + 1;
    w.norm(RESIDUAL, normed);
    let logits = w.slot(vocabulary);
    w.program.logits = logits;
    w.multiply(normed, logits);
    w.program
}

/// Layers of nothing but one product, to measure a kernel by.
fn products(size: usize, layers: usize, dtype: Dtype) -> Program {
    let shape = Shape { name: "", layers, width: size, heads: 8, kv_heads: 8, inner: size, vocabulary: 64 };
    let mut program = model(shape, dtype);
    for ops in &mut program.ops[1..=layers] {
        // The output projection: a plain product that joins the residual stream.
        ops.retain(|op| matches!(op, Op::MatMul { src, dst: RESIDUAL, .. } if *src == Slot(5)));
    }
    program
}

fn open(program: &Program, context: usize, fuse: bool) -> Gpu {
    let options = DeviceOptions { software: true, ..DeviceOptions::default() };
    let device = pollster::block_on(Device::open(&options)).expect("a GPU adapter");
    let ways = Ways { fuses: fuse, ..Ways::of(&device) };
    let mut gpu = Gpu::new(std::rc::Rc::new(device), program, context, ways).expect("the device suits the model");
    let mut noise = Noise::new(1);
    for (number, weight) in program.weights.iter().enumerate() {
        gpu.allocate(program, weight.group).expect("room");
        // A few rows, repeated: what they are costs nothing.
        let rows = random_rows(weight.dtype, weight.columns, weight.rows.min(64), &mut noise);
        gpu.fill(program, WeightId(number as u32), 0..weight.bytes, |range, to| {
            let mut from = rows.iter().cycle().skip(range.start % rows.len());
            to.iter_mut().for_each(|byte| *byte = *from.next().expect("it goes round"));
        });
    }
    gpu
}

/// One pass of `tokens` from `position`; seconds until its result is there.
fn pass(gpu: &mut Gpu, program: &Program, tokens: usize, position: usize) -> f64 {
    let start = Instant::now();
    let ids = vec![1; tokens];
    gpu.reserve(tokens);
    for group in 0..program.groups.len() {
        let is_head = group + 1 == program.groups.len();
        let first = if is_head { tokens - 1 } else { 0 };
        for from in (first..tokens).step_by(BATCH_MAX) {
            let rows = from..tokens.min(from + BATCH_MAX);
            let batch = Batch { tokens: &ids[rows.clone()], position: position + from, rows };
            gpu.run(program, group, &batch, Wanted::Token(Draw::GREEDY)).expect("it runs");
        }
    }
    gpu.wait();
    assert_eq!(gpu.poll(), Poll::Ready);
    start.elapsed().as_secs_f64()
}

/// The best of some passes, so that what else the machine does counts least.
fn best(times: usize, mut run: impl FnMut() -> f64) -> f64 {
    run();
    (0..times).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let shape = given("--shape").unwrap_or_else(|| "small".into());
    let shape = *SHAPES.iter().find(|s| s.name == shape).expect("--shape is tiny, small, 1b or 8b");
    let format = given("--format").unwrap_or_else(|| "Q4_K".into());
    let dtype = *Dtype::ALL.iter().find(|d| d.name() == format).expect("--format names a type");
    let (size, prompt) = if shape.width < 1024 { (1024, 128) } else { (4096, 512) };

    let gpu = open(&products(256, 1, Dtype::F32), 16, true);
    println!("{}", gpu.device().adapter());
    if gpu.device().is_software() {
        println!("This adapter computes on the CPU: only the counts below mean anything.");
    }
    let bytes = (64 << 20).min(gpu.device().buffer_bytes_max());
    let bandwidth = gpu.device().copy_bandwidth(bytes);
    println!("copy within the device: {:.1} GB/s read and written", bandwidth / 1e9);
    drop(gpu);

    println!("\nmatrix·vector of {size} × {size}, and its product with {BATCH_MAX} columns");
    for dtype in Dtype::ALL {
        let layers = 16;
        let program = products(size, layers, dtype);
        let mut gpu = open(&program, BATCH_MAX, true);
        let seconds = best(5, || pass(&mut gpu, &program, 1, 0)) / layers as f64;
        let bytes = program
            .weights
            .iter()
            .find(|w| w.group == 1 && w.is_matrix)
            .map_or(0, |_| size * dtype.row_bytes(size as u64).unwrap_or(0) as usize);
        let speed = bytes as f64 / seconds;
        println!(
            "{:7} {:8.1} µs a dispatch  {:7.2} GB/s  {:5.1} % of the copy  {:8.1} GMAC/s in tiles",
            dtype.name(),
            seconds * 1e6,
            speed / 1e9,
            100.0 * speed / bandwidth,
            (size * size * BATCH_MAX * layers) as f64 / best(1, || pass(&mut gpu, &program, BATCH_MAX, 0)) / 1e9
        );
    }

    println!("\n{} {} with {} layers", shape.name, dtype.name(), shape.layers);
    let program = model(shape, dtype);
    let weights: usize = program.weights.iter().map(|w| w.bytes).sum();
    let mut decoded = [0.0; 2];
    for (index, fuse) in [true, false].into_iter().enumerate() {
        let mut gpu = open(&program, 1024, fuse);
        pass(&mut gpu, &program, 16, 0);
        decoded[index] = best(8, || pass(&mut gpu, &program, 1, 16));
        let stats = gpu.stats();
        println!(
            "{} decode: {:.2} ms a token, {:.1} tokens/s, {:.2} GB/s ({:.1} % of the copy)",
            if fuse { "fused  " } else { "unfused" },
            decoded[index] * 1e3,
            1.0 / decoded[index],
            weights as f64 / decoded[index] / 1e9,
            100.0 * weights as f64 / decoded[index] / bandwidth
        );
        println!(
            "        {:.1} µs a dispatch; dispatches a layer {}, a token {}, submits a token {}, readback {} bytes",
            decoded[index] * 1e6 / stats["dispatchesPerToken"].as_f64().unwrap_or(1.0),
            stats["dispatchesPerLayer"],
            stats["dispatchesPerToken"],
            stats["submitsPerToken"],
            stats["readbackBytesPerToken"]
        );
        if fuse {
            let seconds = best(2, || pass(&mut gpu, &program, prompt, 0));
            println!("prefill of {prompt}: {:.1} ms, {:.1} tokens/s", seconds * 1e3, prompt as f64 / seconds);
        }
    }
    println!("fused against unfused: {:.2} ×", decoded[1] / decoded[0]);
}
