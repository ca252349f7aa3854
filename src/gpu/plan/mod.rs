//! From the list of ops to a list of dispatches. With fusion, neighbours become one: a norm joins the
//! products that read it, projections of one input run together, gate, up and activation are one kernel,
//! rotation writes the cache, and a norm that only joins the residual stream adds itself.

mod arena;
mod depth;
mod dispatch;
mod elementwise;
mod fuse;
mod recurrent;

use super::device::{Device, unsuited};
use super::kernels::{self, NONE, NUMBER_WORD, TAPS_MAX, forms, rope_flags, scores_number};
use super::shaders::{Kernel, OP_BYTES};
use super::weights::{Map, Slab};
use crate::error::Result;
use crate::program::*;
use dispatch::{RopeOperands, Rows, residual};
use elementwise::Each;
use std::collections::HashMap;
use std::ops::Range;

pub use arena::{Arena, prepared_bytes, segments};
pub use depth::{Depth, Extent};

/// Workgroups that share a head's positions in decode at most.
pub const SPLITS_MAX: usize = 16;

/// Tokens of a batch at most that matrix·matrix does not beat a matrix·vector for each of.
pub const TILE_TOKENS: usize = 4;

/// When a dispatch runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// Only where attention was split.
    Split,
    /// In place of tiles for few tokens, and the other way round.
    Few,
    Many,
    /// With tiles of activations that are prepared.
    Prepared,
    /// Only where the device chooses the token.
    Sampled,
}

/// What is bound as the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Keys and values.
    State(StateId),
    /// Activations prepared for tiles, or nothing that matters.
    Prepared,
}

/// One dispatch of the plan.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub kernel: Kernel,
    /// The ops of its group that it computes, alone or with the dispatches beside it that have the same.
    pub ops: Range<usize>,
    pub params: Vec<u32>,
    /// The group and the buffer that its weights are in.
    pub weights: (usize, usize),
    /// What it finds where the cache is bound.
    pub cache: Cache,
    /// Workgroups along x; what exceeds the limit continues along y.
    pub blocks: u32,
    /// Whether y counts splits of attention instead.
    pub splits: bool,
    pub depth: Depth,
    pub condition: Condition,
    /// The adapter that it computes a part of.
    pub adapter: Option<AdapterId>,
}

impl Dispatch {
    /// The words that its kernel reads, with these scales of the adapters.
    pub fn words(&self, scales: &[f32]) -> impl Iterator<Item = u32> {
        let scale = self.adapter.filter(|_| self.kernel == Kernel::Elementwise).map(|id| scales[id.0 as usize]);
        self.params.iter().enumerate().map(move |(word, value)| match scale {
            Some(scale) if word == NUMBER_WORD => (f32::from_bits(*value) * scale).to_bits(),
            _ => *value,
        })
    }

    /// Whether it changes something under these scales.
    pub fn counts(&self, scales: &[f32]) -> bool {
        self.adapter.is_none_or(|id| scales[id.0 as usize] != 0.0)
    }

    /// Whether it computes some of the first `ops` of its group, or chooses a token.
    pub fn is_among(&self, ops: usize) -> bool {
        self.ops.end <= ops || self.condition == Condition::Sampled
    }
}

/// Dispatches of each group, for one token and for many.
pub struct Plan {
    pub single: Vec<Vec<Dispatch>>,
    pub batch: Vec<Vec<Dispatch>>,
    /// Of each group, whether its dispatches read weights of the first one.
    pub reads_first: Vec<bool>,
}

impl Plan {
    /// Plans every group. Without `fuse` each op is a dispatch of its own, to compare with.
    pub fn new(
        program: &Program,
        map: &Map,
        arena: &Arena,
        device: &Device,
        context: usize,
        batch: usize,
        fuse: bool,
    ) -> Result<Plan> {
        check(program)?;
        let plan = |is_single: bool, group: usize| {
            let mut planner = Planner {
                program,
                map,
                arena,
                context,
                group,
                batch,
                is_single,
                fuse,
                products_max: device.products_max(),
                virtual_norms: HashMap::new(),
                prepared: None,
                dispatches: Vec::new(),
            };
            planner.run()?;
            let most = u64::from(device.workgroups_max());
            match planner.dispatches.iter().find(|d| u64::from(d.blocks) > most * most) {
                Some(_) => Err(unsuited("a dispatch exceeds the device's limit")),
                None => Ok(planner.dispatches),
            }
        };
        let groups = 0..program.groups.len();
        let single: Vec<Vec<Dispatch>> = groups.clone().map(|g| plan(true, g)).collect::<Result<_>>()?;
        let batch = groups.map(|g| plan(false, g)).collect::<Result<_>>()?;
        let reads_first = single.iter().map(|group| group.iter().any(|d| d.weights.0 == 0)).collect();
        Ok(Plan { single, batch, reads_first })
    }

    /// A group's dispatches for so many tokens.
    pub fn dispatches(&self, group: usize, tokens: usize) -> &[Dispatch] {
        if tokens == 1 { &self.single[group] } else { &self.batch[group] }
    }

    /// All dispatches: those for single tokens, then those for batches.
    pub fn all(&self) -> impl Iterator<Item = &Dispatch> {
        self.single.iter().chain(&self.batch).flatten()
    }

    /// Where a group's dispatches begin among all.
    pub fn offsets(&self, group: usize) -> (usize, usize) {
        let before = |groups: &[Vec<Dispatch>]| groups.iter().map(Vec::len).sum::<usize>();
        (before(&self.single[..group]), before(&self.single) + before(&self.batch[..group]))
    }

    /// Bytes of all parameters.
    pub fn params_bytes(&self) -> usize {
        self.all().count() * OP_BYTES
    }

    /// The kernels that it uses.
    pub fn kernels(&self) -> Vec<Kernel> {
        let mut kernels: Vec<Kernel> = Vec::new();
        for dispatch in self.all() {
            if !kernels.contains(&dispatch.kernel) {
                kernels.push(dispatch.kernel);
            }
        }
        kernels
    }
}

/// Ops and shapes that the kernels do not cover; such models run on the CPU.
fn check(program: &Program) -> Result<()> {
    let need = |ok: bool, what: &str| if ok { Ok(()) } else { Err(unsuited(format!("{what} is not supported"))) };
    need(program.vocabulary < 1 << 24, "a vocabulary of more than 2^24 tokens")?;
    for op in program.all_ops() {
        match *op {
            Op::Norm { weight, bias, width, .. } => {
                need(width % 4 == 0, "a norm over values that are no multiple of four")?;
                let length = |id: Option<WeightId>| id.map(|id| program[id].columns);
                let is_alike = length(weight).zip(length(bias)).is_none_or(|(weight, bias)| weight == bias);
                need(is_alike, "a norm whose weight and bias differ in length")?;
            }
            Op::ExpertMatMul { view, .. } => {
                need(view.rows % 32 == 0, "an expert with rows that are no multiple of 32")?;
            }
            Op::Attention { state, kv_heads, head_dim, .. } => {
                let value_dim = program[state].kv_widths().1 / kv_heads;
                need(head_dim % 2 == 0 && value_dim.is_multiple_of(2), "an odd head")?;
                need(head_dim <= 512 && value_dim <= 512, "a head of more than 512 values")?;
            }
            Op::Route { logits, used, routing, .. } => {
                let is_known = routing.scores != Scores::SoftmaxOfChosen || routing.bias.is_none();
                need(is_known && used <= program[logits], "a router of this kind")?;
            }
            Op::Weigh { slot, weight } => {
                let is_whole = program[slot].is_multiple_of(4) && [1, program[slot]].contains(&program[weight].columns);
                need(is_whole, "a product with a vector of another length")?;
            }
            Op::Copy { src, dst, run, count, to, .. } => {
                need(src != dst && run > 0 && (count < 2 || to.step >= run), "a copy over itself")?;
            }
            Op::ShortConv { state, slot, .. } => {
                let State::Conv { taps, .. } = program[state] else { return need(false, "a state of this kind") };
                need((1..=TAPS_MAX as usize).contains(&taps), "a convolution over so many tokens")?;
                need(program[slot].is_multiple_of(4), "a convolution of channels that are no multiple of four")?;
            }
            Op::Echo { key, value, heads, .. } => {
                let is_whole = [key, value].iter().all(|slot| (program[*slot] / heads).is_multiple_of(4));
                need(is_whole, "a head that is no multiple of four")?;
            }
            Op::Scan { state, .. } | Op::DeltaRule { state, .. } | Op::Wkv { state, .. } => {
                let State::Recurrent { heads, rows, .. } = program[state] else {
                    return need(false, "a state of this kind");
                };
                need((heads * rows).is_multiple_of(4), "a state with rows that are no multiple of four")?;
            }
            Op::Embed { .. } | Op::EmbedPosition { .. } | Op::EmbedRow { .. } => {}
            Op::Gate { .. } | Op::Activate { .. } => {}
            Op::MatMul { .. } | Op::Rope { .. } | Op::KvWrite { .. } => {}
            Op::Add { .. } | Op::Scale { .. } | Op::Adapt { .. } | Op::Clamp { .. } => {}
            Op::Softcap { .. } | Op::ExpertSum { .. } => {}
        }
    }
    Ok(())
}

/// What products call the activation that gates them, if they have it.
fn gate_kind(activation: Activation) -> Option<u32> {
    match activation {
        Activation::Silu => Some(forms::GATE_SILU),
        Activation::Gelu => Some(forms::GATE_GELU),
        Activation::Identity | Activation::GeluErf | Activation::Relu | Activation::ReluSquared => None,
        Activation::Sigmoid | Activation::SwigluLimited | Activation::ExpBelow | Activation::Exp => None,
    }
}

/// A norm that is computed where it is read.
#[derive(Clone, Copy)]
struct VirtualNorm {
    src: Slot,
    weight: WeightId,
    epsilon: f32,
}

/// A product on its way into a dispatch.
#[derive(Clone)]
struct Product {
    slab: Slab,
    view: RowView,
    dst: Slot,
    epilogue: Epilogue,
}

/// How experts are gathered.
#[derive(Clone, Copy)]
struct Experts {
    choice: Slot,
    used: usize,
    form: ExpertForm,
}

/// What experts read and write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExpertForm {
    /// A row of their own each.
    Apart = 0,
    /// The same row to read, and one each to write.
    Shared = forms::SHARED as isize,
    /// A row each to read, and the same to add to, by their weights.
    Summed = forms::SUMMED as isize,
}

impl ExpertForm {
    fn reading(is_shared: bool) -> ExpertForm {
        if is_shared { ExpertForm::Shared } else { ExpertForm::Apart }
    }
}

struct Planner<'a> {
    program: &'a Program,
    map: &'a Map,
    arena: &'a Arena,
    context: usize,
    group: usize,
    batch: usize,
    is_single: bool,
    fuse: bool,
    /// Products of one dispatch at most.
    products_max: usize,
    virtual_norms: HashMap<Slot, VirtualNorm>,
    /// The slot whose prepared activations are there.
    prepared: Option<Slot>,
    dispatches: Vec<Dispatch>,
}

impl Planner<'_> {
    fn run(&mut self) -> Result<()> {
        let ops = &self.program.ops[self.group];
        let mut at = 0;
        while at < ops.len() {
            let first = self.dispatches.len();
            let taken = self.step(&ops[at..])?;
            let adapter = self.program.adapter(&ops[at]);
            self.dispatches[first..].iter_mut().for_each(|dispatch| {
                (dispatch.ops, dispatch.adapter) = (at..at + taken, adapter);
            });
            let written = |slot: &mut Slot| ops[at..at + taken].iter().any(|op| op.destination() == Some(*slot));
            self.prepared.take_if(written);
            at += taken;
        }
        if self.program.is_head(self.group) && self.program.makes_logits() {
            let first = self.dispatches.len();
            self.sample();
            for dispatch in &mut self.dispatches[first..] {
                (dispatch.ops, dispatch.condition) = (at..at, Condition::Sampled);
            }
        }
        Ok(())
    }

    /// Plans the first of `ops`, with as many of those after it as join it; how many they are.
    fn step(&mut self, ops: &[Op]) -> Result<usize> {
        if self.fuse {
            for fused in [
                Self::norm_into_products,
                Self::norm_add,
                Self::gated,
                Self::expert_sum,
                Self::projections,
                Self::rotation,
            ] {
                let taken = fused(self, ops)?;
                if taken > 0 {
                    return Ok(taken);
                }
            }
        }
        match ops[0] {
            Op::Embed { table, dst, scale } => self.embed(table, dst, scale, Rows::OfTokens),
            Op::EmbedPosition { table, dst } => self.embed(table, dst, 1.0, Rows::OfPositions),
            Op::EmbedRow { table, row, dst } => self.embed(table, dst, 1.0, Rows::One(row)),
            Op::Norm { dst, .. } => {
                self.virtual_norms.remove(&dst);
                self.norm(&ops[0], None);
            }
            Op::MatMul { view, src, dst, epilogue } => {
                for product in self.products(view, dst, epilogue) {
                    self.multiply(&[product], src, None, 0)?;
                }
            }
            Op::ExpertMatMul { view, src, shared, dst, choice, used, scale, bias } => {
                let mut product = self.expert_product(view, dst, scale)?;
                product.epilogue.bias = bias;
                let form = ExpertForm::reading(shared);
                self.multiply(&[product], src, Some(Experts { choice, used, form }), 0)?;
            }
            Op::Rope { slot, heads, head_dim, rope } => {
                let style = self.style(rope);
                // Only the first rows of the grid are heads of queries.
                self.rope(RopeOperands {
                    query: Some((slot, heads)),
                    head_dim,
                    rope: Some(rope),
                    flags: style | rope_flags::ROTATES_QUERIES,
                    ..RopeOperands::default()
                });
            }
            Op::KvWrite { state, key, value, head_dim } => {
                let flags = rope_flags::KEEPS;
                self.rope(RopeOperands {
                    cache: Some((state, key, value)),
                    head_dim,
                    flags,
                    ..RopeOperands::default()
                });
            }
            Op::Attention { .. } => self.attention(&ops[0]),
            Op::Gate { gate, up, activation } => self.elementwise(gate, Some(up), Each::Gate(activation)),
            Op::Activate { slot, activation } => self.elementwise(slot, None, Each::Activate(activation)),
            Op::Add { src, dst } => self.elementwise(dst, Some(src), Each::Add),
            Op::Scale { slot, factor } | Op::Adapt { slot, factor, .. } => {
                self.elementwise(slot, None, Each::Scale(factor));
            }
            Op::Clamp { slot, limit } => self.elementwise(slot, None, Each::Clamp(limit)),
            Op::Softcap { slot, cap } => self.elementwise(slot, None, Each::Softcap(cap)),
            Op::Route { logits, choice, used, routing } => {
                let params = kernels::Route {
                    logits: self.base(logits),
                    logits_stride: self.stride(logits),
                    choice: self.base(choice),
                    choice_stride: self.stride(choice),
                    experts: self.program[logits] as u32,
                    used: used as u32,
                    normalise: routing.normalise.into(),
                    scale: routing.scale,
                    scores: scores_number(routing.scores),
                    bias: self.vector(routing.bias),
                };
                self.push(Kernel::Route, params, 1, Depth::Tokens(1));
            }
            Op::ExpertSum { src, dst, choice, used } => {
                let quads = self.quads(dst);
                let params = kernels::ExpertSum {
                    dst: self.base(dst),
                    dst_stride: self.stride(dst),
                    dst_residual: residual(dst),
                    src: self.base(src),
                    src_stride: self.stride(src),
                    quads,
                    choice: self.base(choice),
                    choice_stride: self.stride(choice),
                    used: used as u32,
                    flag: self.flag(),
                };
                self.push(Kernel::ExpertSum, params, quads.div_ceil(64), Depth::Tokens(1));
            }
            Op::Weigh { slot, weight } => self.weigh(slot, weight),
            Op::Copy { .. } => self.copy(&ops[0]),
            Op::ShortConv { .. } => self.short_conv(&ops[0]),
            Op::Scan { .. } => self.scan(&ops[0]),
            Op::DeltaRule { .. } => self.delta_rule(&ops[0]),
            Op::Wkv { .. } => self.wkv(&ops[0]),
            Op::Echo { .. } => self.echo(&ops[0]),
        }
        Ok(1)
    }
}

/// Tokens from which tiles are used.
pub fn uses_tiles(tokens: usize) -> bool {
    tokens > TILE_TOKENS
}
