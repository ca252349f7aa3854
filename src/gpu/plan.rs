//! From the list of ops to a list of dispatches. With fusion, neighbours become one: a norm joins the
//! products that read it, projections of one input run together, gate, up and activation are one kernel,
//! rotation writes the cache, and a norm that only joins the residual stream adds itself.

use super::device::{Device, unsuited};
use super::shaders::{Kernel, OP_BYTES};
use super::weights::{Map, Slab, chunks};
use crate::error::Result;
use crate::op::*;
use std::collections::HashMap;

/// An operand that is not there.
const NONE: u32 = u32::MAX;

/// Workgroups that share a head's positions in decode at most.
pub const SPLITS_MAX: usize = 16;

/// Tokens from which matrix·matrix beats a matrix·vector for each.
const TILE_TOKENS: usize = 4;

/// How many workgroups there are along z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    One,
    /// So many for each token.
    Tokens(u32),
    /// One for 64 tokens.
    Tiles,
}

/// When a dispatch runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// Only where attention was split.
    Split,
    /// In place of matrix·matrix for few tokens, and the other way round.
    Few,
    Many,
}

/// One dispatch of the plan.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub kernel: Kernel,
    pub params: Vec<u32>,
    /// The group and the buffer that its weights are in.
    pub weights: (usize, usize),
    /// The layer whose cache it uses.
    pub layer: Option<usize>,
    /// Workgroups along x; what exceeds the limit continues along y.
    pub blocks: u32,
    /// Whether y counts splits of attention instead.
    pub splits: bool,
    pub depth: Depth,
    pub condition: Condition,
}

/// Where activations lie in the arena, in quads of f32.
pub struct Arena {
    /// Slot 0 comes last, since it grows.
    pub slots: Vec<u32>,
    /// Quads of a row of each slot.
    pub strides: Vec<u32>,
    /// The batch's token numbers, one f32 each.
    pub tokens: u32,
    /// Cosines and sines of each rotation.
    pub tables: Vec<u32>,
    pub partials: u32,
    /// A quad for each group: whether it made values that are not finite.
    pub flags: u32,
    pub result: u32,
    /// Quads before the residual stream.
    pub fixed: u32,
}

impl Arena {
    /// Places slots for batches of `batch` tokens.
    pub fn new(program: &Program, batch: usize) -> Arena {
        let mut end = 0;
        let mut take = |quads: usize| {
            let start = end;
            end += quads.next_multiple_of(16);
            start as u32
        };
        // Rows are whole chunks, and what lies behind a value is zero.
        let strides: Vec<usize> = program.slots.iter().map(|w| w.next_multiple_of(32) / 4).collect();
        let result = take(1);
        let flags = take(program.groups.len());
        let tokens = take(batch.div_ceil(4));
        let tables = program.ropes.iter().map(|r| take((batch * r.dims).div_ceil(4))).collect();
        let partials = program.ops.iter().flatten().filter_map(|op| match op {
            Op::Attention { layer, heads, kv_heads, .. } => {
                Some(heads * SPLITS_MAX * partial_stride(program.kv_widths[*layer].1 / kv_heads))
            }
            _ => None,
        });
        let partials = take(partials.max().unwrap_or(0));
        let mut slots = vec![0];
        for (slot, stride) in strides.iter().enumerate().skip(1) {
            let rows = if slot == program.logits.0 as usize { 1 } else { batch };
            slots.push(take(rows * stride));
        }
        slots[0] = take(0);
        Arena {
            fixed: slots[0],
            slots,
            strides: strides.into_iter().map(|s| s as u32).collect(),
            tokens,
            tables,
            partials,
            flags,
            result,
        }
    }

    /// Bytes with room for `rows` rows of the residual stream.
    pub fn bytes(&self, rows: usize) -> usize {
        (self.fixed as usize + rows * self.strides[0] as usize) * 16
    }
}

/// Quads of one split's result: maximum and sum, then the values.
fn partial_stride(value_dim: usize) -> usize {
    1 + value_dim.div_ceil(4)
}

/// Dispatches of each group, for one token and for many.
pub struct Plan {
    pub single: Vec<Vec<Dispatch>>,
    pub batch: Vec<Vec<Dispatch>>,
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
        Ok(Plan {
            single: groups.clone().map(|g| plan(true, g)).collect::<Result<_>>()?,
            batch: groups.map(|g| plan(false, g)).collect::<Result<_>>()?,
        })
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

/// Shapes that the kernels do not cover; such models run on the CPU.
fn check(program: &Program) -> Result<()> {
    let is_even = |ok: bool, what: &str| if ok { Ok(()) } else { Err(unsuited(format!("{what} is not supported"))) };
    is_even(program.vocabulary < 1 << 24, "a vocabulary of more than 2^24 tokens")?;
    for op in program.ops.iter().flatten() {
        match op {
            Op::RmsNorm { width, .. } => is_even(width % 4 == 0, "a norm over values that are no multiple of four")?,
            Op::ExpertMatMul { view, .. } => {
                is_even(view.rows % 32 == 0, "an expert with rows that are no multiple of 32")?;
            }
            Op::Attention { layer, kv_heads, head_dim, .. } => {
                let value_dim = program.kv_widths[*layer].1 / kv_heads;
                is_even(head_dim % 2 == 0 && value_dim.is_multiple_of(2), "an odd head")?;
                is_even(*head_dim <= 512 && value_dim <= 512, "a head of more than 512 values")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A norm that is computed where it is read.
#[derive(Clone, Copy)]
struct Norm {
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
    shared: bool,
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
    virtual_norms: HashMap<Slot, Norm>,
    dispatches: Vec<Dispatch>,
}

impl Planner<'_> {
    fn run(&mut self) -> Result<()> {
        let ops = &self.program.ops[self.group];
        let mut at = 0;
        while at < ops.len() {
            at += self.step(&ops[at..])?;
        }
        if self.group + 1 == self.program.groups.len() {
            self.sample();
        }
        Ok(())
    }

    /// Plans the first of `ops`, with as many of those after it as join it; how many they are.
    fn step(&mut self, ops: &[Op]) -> Result<usize> {
        if self.fuse {
            for fused in [Self::norm_into_products, Self::norm_add, Self::gated, Self::projections, Self::rotation] {
                let taken = fused(self, ops)?;
                if taken > 0 {
                    return Ok(taken);
                }
            }
        }
        match ops[0] {
            Op::Embed { table, dst, scale } => self.embed(table, dst, scale),
            Op::RmsNorm { src, weight, dst, width, epsilon } => {
                self.virtual_norms.remove(&dst);
                self.norm(src, weight, dst, width, epsilon, false);
            }
            Op::MatMul { view, src, dst, epilogue } => {
                for product in self.products(view, dst, epilogue) {
                    self.multiply(&[product], src, None, 0)?;
                }
            }
            Op::ExpertMatMul { view, src, shared, dst, choice, used, scale } => {
                let product = self.expert_product(view, dst, scale)?;
                self.multiply(&[product], src, Some(Experts { choice, used, shared }), 0)?;
            }
            Op::Rope { slot, heads, head_dim, rope } => {
                let style = self.style(rope);
                // Only the first rows of the grid are heads of queries.
                self.rope(RopeParts {
                    query: Some((slot, heads)),
                    head_dim,
                    rope: Some(rope),
                    flags: style | 2,
                    ..RopeParts::default()
                });
            }
            Op::KvWrite { layer, key, value, head_dim } => {
                self.rope(RopeParts { cache: Some((layer, key, value)), head_dim, flags: 8, ..RopeParts::default() });
            }
            Op::Attention { layer, query, dst, heads, kv_heads, head_dim, scale, window, softcap } => {
                self.attention(layer, query, dst, heads, kv_heads, head_dim, scale, window, softcap);
            }
            Op::Gate { gate, up, activation } => {
                let kind = if activation == Activation::Silu { 1 } else { 2 };
                self.elementwise(gate, Some(up), kind, 0.0);
            }
            Op::Add { src, dst } => self.elementwise(dst, Some(src), 3, 0.0),
            Op::Softcap { slot, cap } => self.elementwise(slot, None, 4, cap),
            Op::Route { logits, choice, used, normalise, scale } => {
                let params = vec![
                    self.base(logits),
                    self.stride(logits),
                    self.base(choice),
                    self.stride(choice),
                    self.program.slots[logits.0 as usize] as u32,
                    used as u32,
                    normalise.into(),
                    scale.to_bits(),
                ];
                self.push(Kernel::Route, params, 1, Depth::Tokens(1));
            }
            Op::ExpertSum { src, dst, choice, used } => {
                let quads = self.quads(dst);
                let params = vec![
                    self.base(dst),
                    self.stride(dst),
                    residual(dst),
                    self.base(src),
                    self.stride(src),
                    quads,
                    self.base(choice),
                    self.stride(choice),
                    used as u32,
                    self.flag(),
                ];
                self.push(Kernel::ExpertSum, params, quads.div_ceil(64), Depth::Tokens(1));
            }
        }
        Ok(1)
    }

    // --- fusions: each plans a run of ops and tells its length, or 0 ---

    /// A norm whose every reader is a product computes nothing: its readers normalise on the way in.
    fn norm_into_products(&mut self, ops: &[Op]) -> Result<usize> {
        let Op::RmsNorm { src, weight, dst, width, epsilon } = ops[0] else { return Ok(0) };
        // The head's input is the hidden state, which may be asked for.
        let is_head = self.group + 1 == self.program.groups.len();
        let whole_row = width == self.program.slots[src.0 as usize] && width % 32 == 0;
        if !self.is_single || is_head || !whole_row || src == dst {
            return Ok(0);
        }
        for op in &ops[1..] {
            // A kernel that writes what its other workgroups still read would be a race.
            if reads(op, dst) && destination(op) == Some(src) {
                return Ok(0);
            }
            match op {
                Op::MatMul { src: read, view, .. } if *read == dst && self.in_reach(view.weight, weight) => {}
                Op::ExpertMatMul { src: read, view, shared: true, .. }
                    if *read == dst && self.in_reach(view.weight, weight) => {}
                // Written again: what follows reads something else.
                Op::RmsNorm { dst: written, src: read, .. } if *written == dst && *read != dst => break,
                op if reads(op, dst) || destination(op) == Some(dst) => return Ok(0),
                _ => {}
            }
            // The source must not change before its last reader.
            if destination(op) == Some(src) {
                let later = ops[1..].iter().skip_while(|o| !std::ptr::eq(*o, op)).skip(1);
                let mut before_rewrite = later.take_while(|o| destination(o) != Some(dst));
                if before_rewrite.any(|o| reads(o, dst)) {
                    return Ok(0);
                }
                break;
            }
        }
        self.virtual_norms.insert(dst, Norm { src, weight, epsilon });
        Ok(1)
    }

    /// Whether a kernel that multiplies with `matrix` finds `vector` in the same buffers.
    fn in_reach(&self, matrix: WeightId, vector: WeightId) -> bool {
        self.program.weights[matrix.0 as usize].group == self.program.weights[vector.0 as usize].group
    }

    /// norm in place, then added to the residual stream.
    fn norm_add(&mut self, ops: &[Op]) -> Result<usize> {
        let [Op::RmsNorm { src, weight, dst, width, epsilon }, Op::Add { src: added, dst: to }, ..] = *ops else {
            return Ok(0);
        };
        if src != dst || added != dst || width != self.program.slots[src.0 as usize] {
            return Ok(0);
        }
        self.norm(src, weight, to, width, epsilon, true);
        Ok(2)
    }

    /// gate, up and their activation, dense or of experts.
    fn gated(&mut self, ops: &[Op]) -> Result<usize> {
        if !self.is_single {
            return Ok(0);
        }
        let (first, second, from, experts) = match *ops {
            [
                Op::MatMul { view: a, src, dst: gate, epilogue: ea },
                Op::MatMul { view: b, src: other, dst: up, epilogue: eb },
                Op::Gate { gate: g, up: u, .. },
                ..,
            ] if src == other && gate == g && up == u && !ea.accumulate && !eb.accumulate => {
                let (a, b) = (self.products(a, gate, ea), self.products(b, up, eb));
                let ([a], [b]) = (a.as_slice(), b.as_slice()) else { return Ok(0) };
                (a.clone(), b.clone(), src, None)
            }
            [
                Op::ExpertMatMul { view: a, src, shared, dst: gate, choice, used, scale: sa },
                Op::ExpertMatMul { view: b, src: other, dst: up, scale: sb, .. },
                Op::Gate { gate: g, up: u, .. },
                ..,
            ] if src == other && gate == g && up == u => (
                self.expert_product(a, gate, sa)?,
                self.expert_product(b, up, sb)?,
                src,
                Some(Experts { choice, used, shared }),
            ),
            _ => return Ok(0),
        };
        // Both scales are there or neither is: the kernel finds an expert's in both at the same place.
        let alike = self.kernel_of(&first) == self.kernel_of(&second)
            && first.slab.buffer == second.slab.buffer
            && first.view.rows == second.view.rows
            && (experts.is_none() || first.epilogue.scale.is_some() == second.epilogue.scale.is_some());
        let Op::Gate { activation, .. } = ops[2] else { return Ok(0) };
        if !alike {
            return Ok(0);
        }
        let kind = if activation == Activation::Silu { 1 } else { 2 };
        self.multiply(&[first, second], from, experts, kind)?;
        Ok(3)
    }

    /// Up to three products of one input with matrices of one format.
    fn projections(&mut self, ops: &[Op]) -> Result<usize> {
        if !self.is_single {
            return Ok(0);
        }
        let mut products: Vec<Product> = Vec::new();
        let mut from = None;
        for op in ops.iter().take(3) {
            let Op::MatMul { view, src, dst, epilogue } = *op else { break };
            let mut slabs = self.products(view, dst, epilogue);
            let Some(product) = slabs.pop().filter(|_| slabs.is_empty()) else { break };
            let joins = products.first().is_none_or(|first| {
                from == Some(src)
                    && first.slab.buffer == product.slab.buffer
                    && self.program.weights[first.view.weight.0 as usize].group
                        == self.program.weights[view.weight.0 as usize].group
                    && self.kernel_of(first) == self.kernel_of(&product)
            });
            if !joins {
                break;
            }
            from = Some(src);
            products.push(product);
        }
        match (from, products.len()) {
            (Some(src), taken @ 2..) => {
                self.multiply(&products, src, None, 0)?;
                Ok(taken)
            }
            _ => Ok(0),
        }
    }

    /// Norms over heads, rotations and the write to the cache.
    fn rotation(&mut self, ops: &[Op]) -> Result<usize> {
        let norms = match ops {
            [Op::RmsNorm { src: a, dst: b, .. }, Op::RmsNorm { src: c, dst: d, .. }, ..] if a == b && c == d => 2,
            _ => 0,
        };
        let [
            Op::Rope { slot: query, heads, head_dim, rope },
            Op::Rope { slot: keys, rope: same, .. },
            Op::KvWrite { layer, key, value, .. },
            ..,
        ] = ops[norms..]
        else {
            return Ok(0);
        };
        if keys != key || rope != same {
            return Ok(0);
        }
        let mut parts = RopeParts {
            query: Some((query, heads)),
            cache: Some((layer, key, value)),
            head_dim,
            rope: Some(rope),
            flags: self.style(rope) | 2 | 4 | 8,
            ..RopeParts::default()
        };
        for norm in &ops[..norms] {
            let Op::RmsNorm { src, weight, width, epsilon, .. } = *norm else { return Ok(0) };
            match width == head_dim {
                true if src == query => parts.query_norm = self.map.vector(weight),
                true if src == key => parts.key_norm = self.map.vector(weight),
                _ => return Ok(0),
            }
            parts.epsilon = epsilon;
        }
        self.rope(parts);
        Ok(norms + 3)
    }

    // --- dispatches ---

    fn push(&mut self, kernel: Kernel, params: Vec<u32>, blocks: u32, depth: Depth) -> &mut Dispatch {
        self.dispatches.push(Dispatch {
            kernel,
            params,
            weights: (self.group, 0),
            layer: None,
            blocks,
            splits: false,
            depth,
            condition: Condition::Always,
        });
        self.dispatches.last_mut().expect("it was just pushed")
    }

    fn base(&self, slot: Slot) -> u32 {
        self.arena.slots[slot.0 as usize]
    }

    fn stride(&self, slot: Slot) -> u32 {
        self.arena.strides[slot.0 as usize]
    }

    /// Quads of a row's values.
    fn quads(&self, slot: Slot) -> u32 {
        self.program.slots[slot.0 as usize].div_ceil(4) as u32
    }

    /// Where the group tells of values that are not finite.
    fn flag(&self) -> u32 {
        self.arena.flags + self.group as u32
    }

    fn vector(&self, id: Option<WeightId>) -> u32 {
        id.map_or(NONE, |id| self.map.vector(id))
    }

    fn style(&self, rope: usize) -> u32 {
        u32::from(self.program.ropes[rope].style == RopeStyle::Interleaved)
    }

    fn kernel_of(&self, product: &Product) -> Kernel {
        Kernel::MatVec(self.program.weights[product.view.weight.0 as usize].dtype)
    }

    /// A product for each slab that has rows of the view.
    fn products(&self, view: RowView, dst: Slot, epilogue: Epilogue) -> Vec<Product> {
        let slabs = self.map.slabs(view.weight).iter().cloned();
        let whole = view.first_row..view.first_row + view.rows;
        slabs
            .filter(|s| s.first_row < whole.end && whole.start < s.first_row + s.rows)
            .map(|slab| {
                let first = slab.first_row.max(whole.start);
                let rows = whole.end.min(slab.first_row + slab.rows) - first;
                Product { slab, view: RowView { weight: view.weight, first_row: first, rows }, dst, epilogue }
            })
            .collect()
    }

    /// All experts of a view; they must lie in one slab.
    fn expert_product(&self, view: RowView, dst: Slot, scale: Option<WeightId>) -> Result<Product> {
        match self.map.slabs(view.weight) {
            [slab] => {
                Ok(Product { slab: slab.clone(), view, dst, epilogue: Epilogue { scale, ..Epilogue::default() } })
            }
            _ => Err(unsuited("experts that do not fit one buffer are not supported")),
        }
    }

    fn embed(&mut self, table: WeightId, dst: Slot, scale: f32) {
        let weight = &self.program.weights[table.0 as usize];
        for slab in self.map.slabs(table).to_vec() {
            let mut params = planes(&slab);
            params.extend([
                slab.first_row as u32,
                slab.rows as u32,
                chunks(weight) as u32,
                scale.to_bits(),
                self.arena.tokens,
                self.base(dst),
                self.stride(dst),
                self.flag(),
            ]);
            let blocks = chunks(weight).div_ceil(64) as u32;
            let group = weight.group;
            self.push(Kernel::Embed(weight.dtype), params, blocks, Depth::Tokens(1)).weights = (group, slab.buffer);
        }
    }

    fn norm(&mut self, src: Slot, weight: WeightId, dst: Slot, width: usize, epsilon: f32, add: bool) {
        let params = vec![
            self.base(src),
            self.stride(src),
            residual(src),
            self.base(dst),
            self.stride(dst),
            residual(dst),
            width as u32,
            self.map.vector(weight),
            epsilon.to_bits(),
            add.into(),
            self.flag(),
        ];
        let runs = self.program.slots[src.0 as usize] / width;
        self.push(Kernel::Norm, params, runs as u32, Depth::Tokens(1));
    }

    /// Products of one input, in one dispatch where there is one token or few of them, and tiled where there
    /// are many.
    fn multiply(&mut self, products: &[Product], src: Slot, experts: Option<Experts>, gate: u32) -> Result<()> {
        if products.iter().any(|p| !(p.view.first_row - self.first_row_of(p)).is_multiple_of(4)) {
            return Err(unsuited("a slab that begins within a quad of a fused tensor's part is not supported"));
        }
        let norm = self.virtual_norms.get(&src).copied();
        let from = norm.map_or(src, |n| n.src);
        let weight = &self.program.weights[products[0].view.weight.0 as usize];
        let chunks = chunks(weight);
        let head = |first_block: u32| {
            vec![
                self.base(from),
                self.stride(from),
                residual(from),
                chunks as u32,
                weight.columns as u32,
                self.vector(norm.map(|n| n.weight)),
                norm.map_or(0, |n| n.epsilon.to_bits()),
                products.len() as u32,
                gate,
                experts.map_or(NONE, |e| self.base(e.choice)),
                experts.map_or(0, |e| self.stride(e.choice)),
                experts.map_or(1, |e| e.used as u32),
                experts.map_or(0, |e| e.shared.into()),
                match destination_is_checked(self.program, products[0].dst) {
                    true => self.flag(),
                    false => NONE,
                },
                first_block,
                0,
            ]
        };
        let jobs: Vec<u32> = products.iter().flat_map(|product| self.job(product)).collect();
        let params = |first_block: u32| head(first_block).into_iter().chain(jobs.iter().copied()).collect::<Vec<_>>();
        let rows = products[0].view.rows;
        let all_rows: usize = products.iter().map(|p| p.view.rows.div_ceil(4) * 4).sum();
        let weights = (weight.group, products[0].slab.buffer);
        let dtype = weight.dtype;
        let depth = Depth::Tokens(experts.map_or(1, |e| e.used as u32));
        let blocks = if gate == 0 { all_rows / 4 } else { rows.div_ceil(4) };
        let has_tiles = !self.is_single && experts.is_none();
        let most = self.products_max / (chunks * 32 * if has_tiles { 1 } else { self.batch_of(experts) }).max(1);
        let mut dispatches: Vec<(Kernel, Vec<u32>, u32, Depth, Condition)> = Vec::new();
        let condition = if has_tiles { Condition::Few } else { Condition::Always };
        let step = (most / 4).max(1);
        for first in (0..blocks).step_by(step) {
            let count = step.min(blocks - first) as u32;
            dispatches.push((Kernel::MatVec(dtype), params(first as u32), count, depth, condition));
        }
        if has_tiles {
            let step = (self.products_max / (chunks * 32 * self.batch) / 64).max(1);
            let blocks = rows.div_ceil(64);
            for first in (0..blocks).step_by(step) {
                let count = step.min(blocks - first) as u32;
                dispatches.push((Kernel::MatMat(dtype), params(first as u32), count, Depth::Tiles, Condition::Many));
            }
        }
        for (kernel, params, blocks, depth, condition) in dispatches {
            let dispatch = self.push(kernel, params, blocks, depth);
            (dispatch.weights, dispatch.condition) = (weights, condition);
        }
        Ok(())
    }

    /// Rows of a batch that a matrix·vector goes through at most.
    fn batch_of(&self, experts: Option<Experts>) -> usize {
        if self.is_single { 1 } else { self.batch * experts.map_or(1, |e| e.used) }
    }

    fn job(&self, product: &Product) -> Vec<u32> {
        let Product { slab, view, dst, epilogue } = product;
        // A slab's rows go where they belong in the whole result.
        let offset = view.first_row - self.first_row_of(product);
        let mut job = planes(slab);
        job.extend([
            (view.first_row - slab.first_row) as u32,
            view.rows as u32,
            match epilogue.bias {
                Some(bias) => self.map.vector(bias) + offset as u32,
                None => NONE,
            },
            self.vector(epilogue.scale),
            self.base(*dst) + offset as u32 / 4,
            self.stride(*dst),
            u32::from(epilogue.bias_first) | u32::from(epilogue.accumulate) << 1 | residual(*dst) << 2,
            0,
        ]);
        job
    }

    /// The first row of the view that a product is a part of.
    fn first_row_of(&self, product: &Product) -> usize {
        let views = self.program.ops[self.group].iter().filter_map(|op| match op {
            Op::MatMul { view, dst, .. } | Op::ExpertMatMul { view, dst, .. } if *dst == product.dst => Some(view),
            _ => None,
        });
        let row = product.view.first_row;
        let mut views = views.filter(|v| v.weight == product.view.weight);
        views.find(|v| (v.first_row..v.first_row + v.rows).contains(&row)).map_or(row, |v| v.first_row)
    }

    fn rope(&mut self, parts: RopeParts) {
        let slot = |slot: Option<Slot>| slot.map_or([0, 0], |s| [self.base(s), self.stride(s)]);
        let (query, heads) = parts.query.map_or((None, 0), |(slot, heads)| (Some(slot), heads));
        let (key, value) = parts.cache.map_or((None, None), |(_, key, value)| (Some(key), Some(value)));
        let layer = parts.cache.map(|(layer, ..)| layer);
        let width = |slot: Option<Slot>| slot.map_or(0, |s| self.program.slots[s.0 as usize]);
        let kv_heads = width(key) / parts.head_dim;
        let value_dim = width(value).checked_div(kv_heads).unwrap_or(0);
        let mut params = Vec::new();
        params.extend([slot(query), slot(key), slot(value)].into_iter().flatten());
        params.extend([
            heads as u32,
            kv_heads as u32,
            parts.head_dim as u32,
            value_dim as u32,
            parts.query_norm,
            parts.key_norm,
            parts.epsilon.to_bits(),
            parts.rope.map_or(0, |r| self.program.ropes[r].dims as u32 / 2),
            parts.rope.map_or(0, |r| self.arena.tables[r]),
            parts.flags,
            self.context as u32,
            (width(key) * self.context / 2) as u32,
        ]);
        self.push(Kernel::Rope, params, (heads + 2 * kv_heads) as u32, Depth::Tokens(1)).layer = layer;
    }

    #[allow(clippy::too_many_arguments)]
    fn attention(
        &mut self,
        layer: usize,
        query: Slot,
        dst: Slot,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        scale: f32,
        window: Option<usize>,
        softcap: Option<f32>,
    ) {
        let (keys, values) = self.program.kv_widths[layer];
        let value_dim = values / kv_heads;
        let params = vec![
            self.base(query),
            self.stride(query),
            self.base(dst),
            self.stride(dst),
            self.arena.partials,
            partial_stride(value_dim) as u32,
            heads as u32,
            (heads / kv_heads) as u32,
            head_dim as u32,
            value_dim as u32,
            scale.to_bits(),
            window.unwrap_or(0) as u32,
            softcap.unwrap_or(0.0).to_bits(),
            self.context as u32,
            (keys * self.context / 2) as u32,
            0,
        ];
        let attend = self.push(Kernel::Attention, params.clone(), heads as u32, Depth::Tokens(1));
        (attend.layer, attend.splits) = (Some(layer), true);
        if self.is_single {
            let reduce = self.push(Kernel::AttentionReduce, params, heads as u32, Depth::Tokens(1));
            reduce.condition = Condition::Split;
        }
    }

    fn elementwise(&mut self, dst: Slot, src: Option<Slot>, kind: u32, cap: f32) {
        let quads = self.quads(dst);
        let params = vec![
            self.base(dst),
            self.stride(dst),
            residual(dst),
            src.map_or(0, |s| self.base(s)),
            src.map_or(0, |s| self.stride(s)),
            quads,
            kind,
            cap.to_bits(),
            self.flag(),
        ];
        self.push(Kernel::Elementwise, params, quads.div_ceil(64), Depth::Tokens(1));
    }

    fn sample(&mut self) {
        let program = self.program;
        let params = vec![
            self.base(program.logits),
            program.vocabulary as u32,
            self.arena.result,
            self.arena.flags,
            program.groups.len() as u32,
        ];
        self.push(Kernel::Sample, params, 1, Depth::One);
    }
}

/// What a dispatch of the rope kernel does.
struct RopeParts {
    query: Option<(Slot, usize)>,
    /// Layer, keys and values.
    cache: Option<(usize, Slot, Slot)>,
    head_dim: usize,
    rope: Option<usize>,
    query_norm: u32,
    key_norm: u32,
    epsilon: f32,
    flags: u32,
}

impl Default for RopeParts {
    fn default() -> Self {
        RopeParts {
            query: None,
            cache: None,
            head_dim: 1,
            rope: None,
            query_norm: NONE,
            key_norm: NONE,
            epsilon: 0.0,
            flags: 0,
        }
    }
}

/// The words at which a slab's planes begin.
fn planes(slab: &Slab) -> Vec<u32> {
    slab.planes.iter().map(|bytes| (bytes / 4) as u32).collect()
}

/// 1 for the residual stream, whose rows are the sequence's and not the batch's.
fn residual(slot: Slot) -> u32 {
    u32::from(slot == RESIDUAL)
}

/// Whether products into a slot are looked at for values that are not finite.
fn destination_is_checked(program: &Program, slot: Slot) -> bool {
    slot == RESIDUAL || slot == program.logits
}

fn reads(op: &Op, slot: Slot) -> bool {
    match *op {
        Op::Embed { .. } => false,
        Op::RmsNorm { src, .. } | Op::MatMul { src, .. } => src == slot,
        Op::Rope { slot: s, .. } | Op::Softcap { slot: s, .. } => s == slot,
        Op::KvWrite { key, value, .. } => key == slot || value == slot,
        Op::Attention { query, .. } => query == slot,
        Op::Gate { gate, up, .. } => gate == slot || up == slot,
        Op::Add { src, dst } => src == slot || dst == slot,
        Op::Route { logits, .. } => logits == slot,
        Op::ExpertMatMul { src, choice, .. } => src == slot || choice == slot,
        Op::ExpertSum { src, choice, dst, .. } => src == slot || choice == slot || dst == slot,
    }
}

/// Tokens from which tiles are used.
pub fn uses_tiles(tokens: usize) -> bool {
    tokens > TILE_TOKENS
}
