//! The self-test at load: a model of one layer in each format that is used runs on the device, for one
//! token and for several, and its logits are compared with the same computed here in f64. Kernels that
//! fail are not used: without subgroups, or without tiles; where nothing is left the CPU runs the model.

use super::{Gpu, Poll, Wake};
use crate::error::Result;
use crate::gpu::device::{Device, unsuited};
use crate::gpu::shaders::{Arithmetic, Kernel, Variant};
use crate::op::*;
use crate::quant::random::{Noise, random_rows};
use crate::quant::{Dtype, dequantise_row};
use std::rc::Rc;

/// Width of the small model, a whole block of every format, and its vocabulary.
const WIDTH: usize = 256;
const VOCABULARY: usize = 70;
/// Tokens of the run that goes through tiles.
const TOKENS: usize = 6;
const EPSILON: f32 = 1e-5;
/// Sums in f32 differ by far less, a wrong kernel by far more.
const NMSE_MAX: f64 = 1e-6;
/// The same for tiles in f16, and in 8-bit integers, where it is llama.cpp's own error.
const NMSE_MAX_HALF: f64 = 1e-5;
const NMSE_MAX_INTEGER: f64 = 5e-4;

/// One run under way.
struct Trial {
    dtype: Dtype,
    /// Several tokens, or one.
    tiled: bool,
    gpu: Gpu,
    program: Program,
    expected: Vec<f64>,
}

/// The self-test of one model's kernels.
pub struct Verifier {
    device: Rc<Device>,
    kernels: Vec<Kernel>,
    variant: Variant,
    /// Runs that are still to come.
    queue: Vec<(Dtype, bool)>,
    trial: Option<Box<Trial>>,
    disabled: Vec<String>,
    wake: Option<Wake>,
}

impl Verifier {
    /// Will test what these kernels need.
    pub fn new(device: Rc<Device>, kernels: Vec<Kernel>) -> Verifier {
        let variant = device.variant();
        let mut verifier =
            Verifier { device, kernels, variant, queue: Vec::new(), trial: None, disabled: Vec::new(), wake: None };
        verifier.restart();
        verifier
    }

    pub fn set_wake(&mut self, wake: Option<Wake>) {
        if let Some(trial) = &mut self.trial {
            trial.gpu.set_wake(wake.clone());
        }
        self.wake = wake;
    }

    /// What was found so far.
    pub fn verdict(&self) -> (Variant, &[String]) {
        (self.variant, &self.disabled)
    }

    fn restart(&mut self) {
        self.trial = None;
        self.queue.clear();
        for kernel in &self.kernels {
            if let Kernel::MatVec(dtype) = kernel {
                self.queue.extend(self.variant.tiles.map(|_| (*dtype, true)));
                self.queue.push((*dtype, false));
            }
        }
    }

    /// Goes on as far as results are there. `Ready` is the end; an error means that the CPU must do it.
    pub fn poll(&mut self) -> Result<Poll> {
        if self.device.is_lost() {
            return Ok(Poll::Lost);
        }
        // Pipelines tell whether the device took them; one that it refused must not be dispatched.
        for kernel in self.kernels.clone().into_iter().filter(|k| k.is_in(self.variant)) {
            match self.device.pipeline(kernel, self.variant).accepted() {
                None => return Ok(Poll::Pending),
                Some(true) => {}
                Some(false) => {
                    self.reject(kernel, "refused")?;
                    return self.poll();
                }
            }
        }
        loop {
            let Some(trial) = &mut self.trial else {
                let Some((dtype, tiled)) = self.queue.pop() else { return Ok(Poll::Ready) };
                let mut trial = Trial::new(self.device.clone(), self.variant, dtype, tiled)?;
                trial.gpu.set_wake(self.wake.clone());
                trial.start()?;
                self.trial = Some(Box::new(trial));
                continue;
            };
            match trial.gpu.poll() {
                Poll::Ready => {}
                poll => return Ok(poll),
            }
            let (dtype, tiled, is_right) = (trial.dtype, trial.tiled, trial.is_right());
            self.trial = None;
            if !is_right {
                let kernel = if tiled { Kernel::MatMat(dtype) } else { Kernel::MatVec(dtype) };
                self.reject(kernel, "wrong")?;
            }
        }
    }

    /// Goes on without the variant that a kernel failed in.
    fn reject(&mut self, kernel: Kernel, why: &str) -> Result<()> {
        let used = kernel.variant(self.variant);
        self.disabled.push(format!("{}: {why}", kernel.name_in(self.variant)));
        match (kernel, self.variant.tiles) {
            // Without another arithmetic there are no tiles.
            (Kernel::MatMat(_) | Kernel::Prepare, Some(_)) => {
                self.variant.tiles = used.tiles.and_then(|failed| self.device.arithmetic_after(failed));
            }
            (Kernel::AttentionTiles, Some(_)) => self.variant.tiles = None,
            _ if used.subgroups => self.variant.subgroups = false,
            _ => return Err(unsuited(format!("kernel {} does not work on this device", kernel.name()))),
        }
        self.restart();
        Ok(())
    }
}

impl Trial {
    fn new(device: Rc<Device>, variant: Variant, dtype: Dtype, tiled: bool) -> Result<Trial> {
        let mut noise = Noise::new(dtype.ggml_id().into());
        let norm: Vec<u8> = (0..WIDTH).flat_map(|_| (1.0 + 0.1 * noise.normal()).to_le_bytes()).collect();
        let table = random_rows(dtype, WIDTH, VOCABULARY, &mut noise);
        let matrix = random_rows(dtype, WIDTH, WIDTH, &mut noise);
        let program = program(dtype, [&table, &norm, &matrix].map(|bytes| bytes.len()));
        let mut gpu = Gpu::with_variant(device, &program, TOKENS, variant)?;
        let tensors: [(u32, &[u8]); 4] = [(0, &table), (1, &norm), (2, &matrix), (3, &norm)];
        for (id, bytes) in tensors {
            gpu.allocate(&program, program.weights[id as usize].group)?;
            gpu.fill(&program, WeightId(id), 0..bytes.len(), |range, to| to.copy_from_slice(&bytes[range]));
        }
        let token = if tiled { TOKENS - 1 } else { 0 };
        let expected = expected(dtype, &table, &norm, &matrix, token * 11);
        Ok(Trial { dtype, tiled, gpu, program, expected })
    }

    fn start(&mut self) -> Result<()> {
        let tokens: Vec<u32> = (0..if self.tiled { TOKENS } else { 1 }).map(|t| t as u32 * 11).collect();
        for group in 0..3 {
            let rows = if group == 2 { tokens.len() - 1..tokens.len() } else { 0..tokens.len() };
            let batch = Batch { tokens: &tokens[rows.clone()], position: rows.start, rows };
            self.gpu.run(&self.program, group, &batch, Wanted::Logits)?;
        }
        Ok(())
    }

    fn is_right(&mut self) -> bool {
        let most = match Kernel::MatMat(self.dtype).variant(self.gpu.variant).tiles {
            Some(Arithmetic::Half) if self.tiled => NMSE_MAX_HALF,
            Some(Arithmetic::Integer) if self.tiled => NMSE_MAX_INTEGER,
            _ => NMSE_MAX,
        };
        let got = &self.gpu.outcome().values;
        let square = |v: f64| v * v;
        let error: f64 = self.expected.iter().zip(got).map(|(e, g)| square(e - f64::from(*g))).sum();
        let size: f64 = self.expected.iter().copied().map(square).sum();
        // Written so that NaN fails too.
        got.len() == self.expected.len() && error <= most * size
    }
}

/// Embedding, a layer of norm and product, and a head tied to the embedding.
fn program(dtype: Dtype, bytes: [usize; 3]) -> Program {
    let [table, norm, matrix] = bytes;
    let weight = |name: &str, dtype, rows, (group, index), bytes, is_matrix| Weight {
        name: name.into(),
        dtype,
        rows,
        columns: WIDTH,
        group,
        index,
        group_offset: 0,
        bytes,
        part: 0,
        file_offset: 0,
        is_matrix,
    };
    let group = |weights: &[u32]| Group { weights: weights.iter().copied().map(WeightId).collect(), bytes: 0 };
    let (normed, inner, logits) = (Slot(1), Slot(2), Slot(3));
    let view = |weight, rows| RowView { weight: WeightId(weight), first_row: 0, rows };
    let normalise =
        |weight| Op::RmsNorm { src: RESIDUAL, weight: WeightId(weight), dst: normed, width: WIDTH, epsilon: EPSILON };
    let multiply = |view, src, dst| Op::MatMul { view, src, dst, epilogue: Epilogue::default() };
    Program {
        slots: vec![WIDTH, WIDTH, WIDTH, VOCABULARY],
        weights: vec![
            weight("table", dtype, VOCABULARY, (0, 0), table, true),
            weight("norm", Dtype::F32, 1, (1, 0), norm, false),
            weight("matrix", dtype, WIDTH, (1, 1), matrix, true),
            weight("head norm", Dtype::F32, 1, (2, 0), norm, false),
        ],
        ropes: Vec::new(),
        groups: vec![group(&[0]), group(&[1, 2]), group(&[3])],
        ops: vec![
            vec![Op::Embed { table: WeightId(0), dst: RESIDUAL, scale: 2.0 }],
            vec![normalise(1), multiply(view(2, WIDTH), normed, inner), Op::Add { src: inner, dst: RESIDUAL }],
            vec![normalise(3), multiply(view(0, VOCABULARY), normed, logits)],
        ],
        logits,
        kv_widths: vec![(2, 2)],
        vocabulary: VOCABULARY,
    }
}

/// The logits of one token, by the definition of the ops.
fn expected(dtype: Dtype, table: &[u8], norm: &[u8], matrix: &[u8], token: usize) -> Vec<f64> {
    let rows = |bytes: &[u8], count: usize| -> Vec<Vec<f64>> {
        let row = |bytes: &[u8]| {
            let mut values = vec![0.0; WIDTH];
            dequantise_row(dtype, bytes, &mut values);
            values.into_iter().map(f64::from).collect()
        };
        bytes.chunks_exact(bytes.len() / count).map(row).collect()
    };
    let norm: Vec<f64> =
        norm.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect();
    let normalised = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + f64::from(EPSILON)).sqrt();
        x.iter().zip(&norm).map(|(v, w)| v * scale * w).collect()
    };
    let product = |rows: &[Vec<f64>], x: &[f64]| -> Vec<f64> {
        rows.iter().map(|row| row.iter().zip(x).map(|(w, v)| w * v).sum()).collect()
    };
    let (table, matrix) = (rows(table, VOCABULARY), rows(matrix, WIDTH));
    let embedded: Vec<f64> = table[token].iter().map(|v| 2.0 * v).collect();
    let inner = product(&matrix, &normalised(&embedded));
    let residual: Vec<f64> = embedded.iter().zip(inner).map(|(a, b)| a + b).collect();
    product(&table, &normalised(&residual))
}
