//! `cargo xtask bench gpu`: what the GPU backend reaches on this machine's adapter. Each kernel by itself, and
//! decode and prefill of whole models with random weights: `-- --shape tiny|small|1b|8b`, of one format:
//! `--format Q4_K`.

#[path = "../support/program.rs"]
mod program;

use program::{Heads, Writer, rope};
use std::rc::Rc;
use std::time::Instant;
use wasm_chord::exec::{Batch, Draw, Poll, Wanted};
use wasm_chord::gpu::{BATCH_MAX, Device, DeviceOptions, Gpu, Ways};
use wasm_chord::program::*;
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

impl Shape {
    fn heads(self) -> Heads {
        let head_dim = self.width / self.heads;
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        Heads { heads, kv_heads, head_dim, value_dim: head_dim, window: None, softcap: None }
    }
}

fn model(shape: Shape, dtype: Dtype) -> Program {
    let Shape { layers, width, inner, vocabulary, .. } = shape;
    let Heads { heads, kv_heads, head_dim, .. } = shape.heads();
    let mut w = Writer::new(dtype, width, vocabulary, layers);
    let rotation = w.program.push_rope(rope(head_dim, RopeStyle::Interleaved));
    let normed = w.slot(width);
    let (first, slots) = w.heads(shape.heads());
    let kv = w.program[first];
    let states: Vec<_> = [first].into_iter().chain((1..layers).map(|_| w.program.push_state(kv))).collect();
    let [gate, up] = [inner; 2].map(|inner| w.slot(inner));
    for (layer, state) in states.into_iter().enumerate() {
        w.group = layer + 1;
        w.norm(RESIDUAL, normed);
        slots[..3].iter().for_each(|dst| w.multiply(normed, *dst));
        w.op(Op::Rope { slot: slots[0], heads, head_dim, rope: rotation });
        w.op(Op::Rope { slot: slots[1], heads: kv_heads, head_dim, rope: rotation });
        w.attend(shape.heads(), state, slots, 1.0 / (head_dim as f32).sqrt());
        w.multiply(slots[3], RESIDUAL);
        w.norm(RESIDUAL, normed);
        w.multiply(normed, gate);
        w.multiply(normed, up);
        w.op(Op::Gate { gate, up, activation: Activation::Silu });
        w.multiply(gate, RESIDUAL);
    }
    w.head()
}

fn open(device: &Rc<Device>, program: &Program, context: usize, ways: Ways) -> Gpu {
    let mut gpu = Gpu::new(device.clone(), program, context, ways).expect("the device suits the model");
    (0..program.groups.len()).for_each(|group| gpu.allocate(program, group).expect("room"));
    let mut noise = Noise::new(1);
    for (number, weight) in program.weights.iter().enumerate() {
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
fn pass(gpu: &mut Gpu, program: &Program, tokens: usize, position: usize, draw: Draw) -> f64 {
    let start = Instant::now();
    let ids = vec![1; tokens];
    gpu.reserve(tokens);
    for group in 0..program.groups.len() {
        let is_head = group + 1 == program.groups.len();
        let first = if is_head { tokens - 1 } else { 0 };
        for from in (first..tokens).step_by(BATCH_MAX) {
            let rows = from..tokens.min(from + BATCH_MAX);
            let positions = position + rows.end;
            let tokens = &ids[rows.clone()];
            let batch = Batch { tokens, position: position + from, rows, positions, lane: 0, members: &[], texts: &[] };
            gpu.run(program, group, &batch, Wanted::Token(draw)).expect("it runs");
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

/// How often a kernel runs in a program, and how often a program runs; on a software adapter, which is slow and
/// whose times mean nothing, as rarely as will do.
const REPEATS: usize = 16;
const TIMES: usize = 4;
const SOFTWARE_REPEATS: usize = 2;
const SOFTWARE_TIMES: usize = 1;

/// What a kernel does: for so many tokens from `position` on.
struct Work {
    tokens: usize,
    position: usize,
    /// Bytes that are read and written at least.
    bytes: usize,
    /// Multiplications, where they count.
    products: usize,
}

/// The kernels of one model's shape, each by itself.
struct Kernels {
    shape: Shape,
    device: Rc<Device>,
    ways: Ways,
    bandwidth: f64,
}

impl Kernels {
    /// Times what `write` repeats: a pass with many of it against a pass with one.
    fn time(&self, name: &str, work: Work, ways: Ways, write: impl Fn(&mut Writer, usize)) {
        let Work { tokens, position, bytes, products } = work;
        let (more, times) = match self.device.is_software() {
            false => (REPEATS, TIMES),
            true => (SOFTWARE_REPEATS, SOFTWARE_TIMES),
        };
        let passes = [1 + more, 1].map(|repeats| {
            let mut w = Writer::new(Dtype::F32, self.shape.width, 64, 1);
            write(&mut w, repeats);
            let mut gpu = open(&self.device, &w.program, position + tokens, ways);
            let seconds = best(times, || pass(&mut gpu, &w.program, tokens, position, Draw::GREEDY));
            let before = gpu.device().counters();
            pass(&mut gpu, &w.program, tokens, position, Draw::GREEDY);
            (seconds, gpu.device().counters().since(&before).dispatches)
        });
        let seconds = (passes[0].0 - passes[1].0) / more as f64;
        let dispatches = (passes[0].1 - passes[1].1) as f64 / more as f64;
        if seconds <= 0.0 {
            println!("{name:34} {tokens:4} {dispatches:4.0} dispatches, too quick to be told from nothing");
            return;
        }
        let speed = bytes as f64 / seconds;
        let products = match products {
            0 => String::new(),
            products => format!("  {:8.1} GMAC/s", products as f64 / seconds / 1e9),
        };
        println!(
            "{name:34} {tokens:4} {dispatches:4.0} dispatches  {:9.1} µs each  {:7.2} GB/s  {:5.1} % of the copy{products}",
            seconds * 1e6 / dispatches,
            speed / 1e9,
            100.0 * speed / self.bandwidth
        );
    }

    /// The same for a token and for a batch, where so many bytes are read and written for each token.
    fn each(&self, name: &str, bytes: usize, write: impl Fn(&mut Writer, usize)) {
        for tokens in [1, BATCH_MAX] {
            let work = Work { tokens, position: 0, bytes: tokens * bytes, products: 0 };
            self.time(name, work, Ways { fuses: false, ..self.ways }, &write);
        }
    }

    /// A square matrix of each format times a token, and times a batch.
    fn products(&self, size: usize) {
        for dtype in Dtype::ALL {
            for (name, tokens) in [("matvec", 1), ("matmat", BATCH_MAX)] {
                let bytes = size * dtype.row_bytes(size as u64).expect("whole blocks") as usize;
                let work = Work { tokens, position: 0, bytes, products: size * size * tokens };
                self.time(&format!("{name} {} {size} × {size}", dtype.name()), work, self.ways, |w, repeats| {
                    w.dtype = dtype;
                    let [src, dst] = [size; 2].map(|size| w.slot(size));
                    // Each reads its own matrix, and none runs together with its neighbour.
                    (0..repeats).for_each(|at| if at % 2 == 0 { w.multiply(src, dst) } else { w.multiply(dst, src) });
                });
            }
        }
    }

    /// Attention of a token and of a batch, after so many positions.
    fn attention(&self, position: usize) {
        let heads = self.shape.heads();
        let cached = 4 * heads.kv_heads * heads.head_dim;
        for (name, tokens, splits) in
            [("attention", 1, false), ("attention and its reduce", 1, true), ("attention_tiles", BATCH_MAX, true)]
        {
            let bytes = (position + tokens) * cached + 8 * tokens * self.shape.width;
            let products = 2 * tokens * (position + tokens / 2) * self.shape.width;
            let work = Work { tokens, position, bytes, products };
            self.time(&format!("{name} after {position}"), work, Ways { splits, ..self.ways }, |w, repeats| {
                let (state, slots) = w.heads(heads);
                (0..repeats).for_each(|_| w.attend_to(heads, state, slots, 0.1));
            });
        }
    }

    /// Everything else.
    fn others(&self) {
        let Shape { width, inner, vocabulary, .. } = self.shape;
        let heads = self.shape.heads();
        let kv = heads.kv_heads * heads.head_dim;
        let repeat = |w: &mut Writer, repeats: usize, op: Op| (0..repeats).for_each(|_| w.op(op));
        self.each("embed", 8 * width, |w, repeats| {
            w.group = 0;
            let embed = w.program.ops[0][0];
            repeat(w, repeats, embed);
        });
        self.each("norm", 8 * width, |w, repeats| {
            let dst = w.slot(width);
            (0..repeats).for_each(|_| w.norm(RESIDUAL, dst));
        });
        for tokens in [1, BATCH_MAX] {
            let work = Work { tokens, position: 0, bytes: tokens * (8 * width + 12 * kv), products: 0 };
            self.time("rope and the write to the cache", work, self.ways, |w, repeats| {
                let rope = w.program.push_rope(rope(heads.head_dim, RopeStyle::Interleaved));
                let (state, [query, key, value, _]) = w.heads(heads);
                let Heads { heads, kv_heads, head_dim, .. } = heads;
                for _ in 0..repeats {
                    w.op(Op::Rope { slot: query, heads, head_dim, rope });
                    w.op(Op::Rope { slot: key, heads: kv_heads, head_dim, rope });
                    w.op(Op::KvWrite { state, key, value, head_dim });
                }
            });
        }
        self.each("elementwise: gate", 12 * inner, |w, repeats| {
            let [gate, up] = [inner; 2].map(|inner| w.slot(inner));
            repeat(w, repeats, Op::Gate { gate, up, activation: Activation::Silu });
        });
        self.each("elementwise: add", 12 * width, |w, repeats| {
            let src = w.slot(width);
            repeat(w, repeats, Op::Add { src, dst: RESIDUAL });
        });
        let (experts, used) = (64, 8);
        self.each("route: 8 of 64 experts", 4 * (experts + 2 * used), |w, repeats| {
            let [logits, choice] = [experts, 2 * used].map(|width| w.slot(width));
            let routing = Routing { scores: Scores::Softmax, bias: None, normalise: true, scale: 1.0 };
            repeat(w, repeats, Op::Route { logits, choice, used, routing });
        });
        self.each("expert_sum: 8 experts", 4 * width * (used + 2), |w, repeats| {
            let [src, choice] = [used * width, 2 * used].map(|width| w.slot(width));
            repeat(w, repeats, Op::ExpertSum { src, dst: RESIDUAL, choice, used });
        });
        self.sampling(vocabulary);
    }

    /// The choice of a token, which comes once a pass: against that from a vocabulary of one part.
    fn sampling(&self, vocabulary: usize) {
        for top_k in [1, 40] {
            let seconds = [vocabulary, 4].map(|vocabulary| {
                let mut w = Writer::new(Dtype::F32, self.shape.width, vocabulary, 0);
                w.program.outputs.logits = w.slot(vocabulary);
                let mut gpu = open(&self.device, &w.program, 1, self.ways);
                best(8, || pass(&mut gpu, &w.program, 1, 0, Draw { top_k, ..Draw::GREEDY }))
            });
            println!(
                "{:34} {:4} {:4} dispatches  {:9.1} µs more than among 4",
                format!("top and sample: {top_k} of {vocabulary}"),
                1,
                2,
                (seconds[0] - seconds[1]) * 1e6
            );
        }
    }
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

    let options = DeviceOptions { software: true, ..DeviceOptions::default() };
    let device = Rc::new(pollster::block_on(Device::open(&options)).expect("a GPU adapter"));
    println!("{}", device.adapter());
    if device.is_software() {
        println!("This adapter computes on the CPU: only the counts below mean anything.");
    }
    let bandwidth = device.copy_bandwidth((64 << 20).min(device.buffer_bytes_max()));
    println!("copy within the device: {:.1} GB/s read and written", bandwidth / 1e9);

    println!("\neach kernel of {}, for so many tokens: dispatches, time, bytes read and written", shape.name);
    let kernels = Kernels { shape, device: device.clone(), ways: Ways::of(&device), bandwidth };
    kernels.products(size);
    [0, 1000, 4000].into_iter().for_each(|position| kernels.attention(position));
    kernels.others();

    println!("\n{} {} with {} layers", shape.name, dtype.name(), shape.layers);
    let program = model(shape, dtype);
    let weights: usize = program.weights.iter().map(|w| w.bytes).sum();
    let mut decoded = [0.0; 2];
    for (index, fuse) in [true, false].into_iter().enumerate() {
        let mut gpu = open(&device, &program, 1024, Ways { fuses: fuse, ..Ways::of(&device) });
        pass(&mut gpu, &program, 16, 0, Draw::GREEDY);
        decoded[index] = best(8, || pass(&mut gpu, &program, 1, 16, Draw::GREEDY));
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
            decoded[index] * 1e6 / stats.dispatches_per_token as f64,
            stats.dispatches_per_layer,
            stats.dispatches_per_token,
            stats.submits_per_token,
            stats.readback_bytes_per_token
        );
        if fuse {
            let seconds = best(2, || pass(&mut gpu, &program, prompt, 0, Draw::GREEDY));
            println!("prefill of {prompt}: {:.1} ms, {:.1} tokens/s", seconds * 1e3, prompt as f64 / seconds);
        }
    }
    println!("fused against unfused: {:.2} ×", decoded[1] / decoded[0]);
}
