//! Every shader against its scalar twin: for each file of `shaders/` a test of its name, which runs the kernel
//! through the executor on whatever adapter there is, and compares what each dispatch of it leaves behind with
//! what the CPU's scalar code makes of the same inputs.
#![cfg(feature = "gpu")]

#[path = "../support/mod.rs"]
mod support;

mod attention;
mod matrices;
mod recurrent;
mod sampling;
mod values;

use std::rc::Rc;
use support::gpu::{CHANGE, DEVICE, device, tamper};
use wasm_chord::exec::{Draw, Poll};
use wasm_chord::gpu::shaders::{Arithmetic, Kernel, Variant};
use wasm_chord::gpu::{Device, DeviceOptions, Pass, Room, Step, Ways};
use wasm_chord::program::{KvFormat, Program};
use wasm_chord::trust::{Judge, Miniature};

/// Makes a test of each name, and one that there is such a name for every file of `shaders/`.
macro_rules! tests_of_shaders {
    ($($module:ident: $($name:ident),+;)+) => {
        $($(
            #[test]
            fn $name() {
                check(stringify!($name), DEVICE, $module::$name).expect("parity");
            }
        )+)+

        const TESTS: &[(&str, Test)] = &[$($((stringify!($name), $module::$name)),+),+];
    };
}

tests_of_shaders! {
    attention: attention, attention_reduce, attention_tiles;
    matrices: embed, matmat, matvec, prepare_half, prepare_integer;
    recurrent: conv, copy, delta, echo, scan, wkv;
    sampling: sample, top;
    values: elementwise, expert_sum, norm, rope, route;
}

/// The error that a kernel may have: NMSE of one dispatch's results.
fn error_max(shader: &str, kernel: Kernel, arithmetic: Arithmetic) -> f64 {
    match (shader, arithmetic) {
        // A value that lies between two integers may become either: 1 / 127 of its block's largest, in a few of them.
        _ if kernel == Kernel::Rope(KvFormat::Q8_0) => 1e-5,
        // Choices are right or wrong.
        ("copy" | "sample" | "top", _) => 0.0,
        // A product or two, each rounded to f32 once: 2^-24 of a value at most.
        ("embed", _) => 1e-13,
        // Sums of f32 in another order.
        ("conv" | "echo" | "expert_sum" | "norm" | "matvec", _) | ("matmat", Arithmetic::Single) => 1e-11,
        // exp, which WGSL lets differ by several units in the last place, more the larger its argument.
        ("elementwise" | "route" | "attention_reduce" | "attention" | "attention_tiles", _) => 1e-10,
        // The same in factors that are multiplied over the tokens of a batch.
        ("delta" | "scan" | "wkv", _) => 1e-9,
        // Keys and values whose last bit of f16 falls otherwise, since sums do: 2^-20 of a value's square each.
        ("rope", _) => 1e-8,
        // 11 bits of each value, after division by the largest of its chunk.
        ("prepare_half", _) => 1e-6,
        ("matmat", Arithmetic::Half) => 1e-5,
        // 127 steps for each sign, over 32 values, as llama.cpp has them.
        ("prepare_integer", _) => 1e-4,
        ("matmat", Arithmetic::Integer) => 5e-4,
        _ => unreachable!("{shader} has no bound"),
    }
}

type Test = fn(&Bench) -> Result<(), String>;

/// A device, and the shader that is tested there.
struct Bench {
    shader: &'static str,
    device: Rc<Device>,
    options: DeviceOptions,
}

/// Runs a test on a device that can do all that the adapter can; passes where there is no adapter.
fn check(shader: &'static str, options: DeviceOptions, test: Test) -> Result<(), String> {
    let options = DeviceOptions { arithmetic: Some(Arithmetic::Integer), ..options };
    match device(options.clone()) {
        Some(device) => test(&Bench { shader, device: Rc::new(device), options }),
        None => Ok(()),
    }
}

impl Bench {
    /// The same with another device.
    fn with(&self, change: impl FnOnce(&mut DeviceOptions)) -> Bench {
        let mut options = self.options.clone();
        change(&mut options);
        let device = device(options.clone()).expect("there was one before");
        Bench { shader: self.shader, device: Rc::new(device), options }
    }

    /// All ways of computing, with f32 tiles.
    fn ways(&self) -> Ways {
        let ways = Ways::of(&self.device);
        Ways { kernels: Variant { tiles: Some(Arithmetic::Single), ..ways.kernels }, ..ways }
    }

    /// With subgroups, where the adapter has them, and without.
    fn sums(&self) -> Vec<Ways> {
        let mut ways = vec![self.ways()];
        if ways[0].kernels.subgroups {
            ways.push(ways[0]);
            ways[1].kernels.subgroups = false;
        }
        ways
    }

    /// In every arithmetic that the adapter has.
    fn arithmetics(&self) -> Vec<Ways> {
        let next = |arithmetic: &Arithmetic| self.device.arithmetic_after(*arithmetic);
        let tiles = |tiles| Ways { kernels: Variant { tiles: Some(tiles), ..self.ways().kernels }, ..self.ways() };
        std::iter::successors(self.device.variant().tiles, next).map(tiles).collect()
    }

    /// Runs passes of a program, and judges each dispatch of the shader.
    fn run(&self, what: &str, program: Program, passes: Vec<Pass>, ways: Ways) -> Result<(), String> {
        self.run_small(what, &Miniature::of(program), passes, ways)
    }

    fn run_small(&self, what: &str, small: &Miniature, passes: Vec<Pass>, ways: Ways) -> Result<(), String> {
        let context = passes.iter().map(|pass| pass.position + pass.tokens.len()).max().expect("a pass");
        let batch = passes.iter().map(|pass| pass.tokens.len()).max().expect("a pass");
        let room = Room { context, batch, rows_max: batch };
        let mut gpu = small.on(self.device.clone(), room, ways).map_err(|e| format!("{what}: {e}"))?;
        let mut trace = gpu.trace(&small.program, passes).map_err(|e| format!("{what}: {e}"))?;
        self.device.wait(None);
        assert_eq!(gpu.poll_trace(&mut trace), Poll::Ready, "{what}");
        let mut judge = Judge::new(small, ways.kernels, room).expect("room");
        let steps = judge.errors(&trace).filter(|(step, _)| shader_of(step.kernel, ways.kernels) == self.shader);
        let steps: Vec<_> = steps.collect();
        assert!(!steps.is_empty(), "{what}: {} does not run", self.shader);
        let most = |step: &Step| error_max(self.shader, step.kernel, ways.kernels.tiles.unwrap_or_default());
        let worst = steps.iter().map(|(_, error)| *error).fold(0.0, f64::max);
        println!("{:.1e} of {:.0e}  {what}", worst, most(steps[0].0));
        match steps.iter().find(|(step, error)| *error > most(step)) {
            Some((step, error)) => {
                let (pass, kernel) = (step.pass, step.kernel.name_in(ways.kernels));
                Err(format!("{what}: pass {pass}, ops {:?}: {kernel} has an error of {error:.2e}", step.ops))
            }
            None => Ok(()),
        }
    }
}

/// The stem of a kernel's file.
fn shader_of(kernel: Kernel, variant: Variant) -> String {
    match (kernel, variant.tiles) {
        (Kernel::Prepare, Some(Arithmetic::Half)) => "prepare_half".into(),
        (Kernel::Prepare, _) => "prepare_integer".into(),
        _ => kernel.name().split(' ').next().unwrap_or_default().into(),
    }
}

/// Passes one after the other, of so many tokens each, which do not come again in any order.
fn passes(position: usize, vocabulary: usize, counts: &[usize]) -> Vec<Pass> {
    let mut at = position;
    let pass = |tokens: &usize| {
        let position = at;
        at += tokens;
        let tokens = (position..at).map(|at| (at * at * at / 5 % vocabulary) as u32).collect();
        Pass { tokens, position, splits: 1, draw: Draw::GREEDY }
    };
    counts.iter().map(pass).collect()
}

#[test]
fn every_shader_has_a_test_of_its_name() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).expect("the shaders");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    let mut files: Vec<String> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    files.sort();
    let mut tests: Vec<&str> = TESTS.iter().map(|(name, _)| *name).collect();
    tests.sort();
    assert_eq!(files, tests);
}

#[test]
fn every_test_notices_a_wrong_kernel() {
    let changes = [
        ("attention", "sum *= fade;", ""),
        ("attention_reduce", "value / sum", "value"),
        ("attention_tiles", "sum *= fade;", ""),
        ("elementwise", "0.044715", "0.04"),
        ("conv", "past[tap] = past[tap + 1u]", "past[tap] = past[tap]"),
        ("copy", "number * op.from_step", "number * op.to_step"),
        ("delta", "+ missing * key", "- missing * key"),
        ("echo", "answer * arena", "1.1 * answer * arena"),
        ("wkv", "state -= erased", "state += erased"),
        ("embed", "c.scale.y * c.b[j]", "c.scale.x * c.a[j]"),
        ("expert_sum", "j < op.used", "j + 1u < op.used"),
        ("matmat", "finish(job, sums[t], row, scale)", "1.1 * finish(job, sums[t], row, scale)"),
        ("matvec", "return dot(c.scale", "return 1.0001 * dot(c.scale"),
        ("norm", "+ op.epsilon", "+ 1.1 * op.epsilon"),
        ("prepare_half", "pack2x16float(value.xy)", "pack2x16float(value.yx)"),
        ("prepare_integer", "let scale = most / 127.0;", "let scale = most / 125.0;"),
        ("rope", "pair.x * turn.y + pair.y", "pair.x * turn.y - pair.y"),
        ("route", "value > best_value", "value >= best_value"),
        ("sample", "sum > drawn", "sum > 0.9 * drawn"),
        ("scan", "* fade + width", "* fade - width"),
        ("top", "precedes(candidate, found)", "!precedes(candidate, found)"),
    ];
    assert_eq!(changes.map(|(name, ..)| name).len(), TESTS.len());
    // Of these kernels the variant for keys and values in integers alone is wrong.
    let changes = changes.into_iter().chain([
        ("attention q8_0", "* scale_at(row, op.head_dim, block)", ""),
        ("attention_tiles q8_0", "signed_bytes(stage[row + quad])", "signed_bytes(stage[row])"),
        ("rope q8_0", "round(four * inverse)", "floor(four * inverse)"),
    ]);
    if device(DEVICE).is_none() {
        return;
    }
    for (shader, from, to) in changes {
        let stem = shader.trim_end_matches(" q8_0");
        let (name, test) = TESTS.iter().find(|(name, _)| *name == stem).expect("a test of this name");
        let kernel = if name.starts_with("prepare") { "prepare" } else { shader };
        CHANGE.set(Some((kernel, from, to, false)));
        let failure = check(name, DeviceOptions { tamper: Some(tamper), ..DEVICE }, *test);
        println!("{}", failure.expect_err(name));
    }
}
