//! Fusions: each plans a run of ops as one dispatch and tells the run's length, or 0.

use super::dispatch::RopeOperands;
use super::{ExpertForm, Experts, Planner, Product, VirtualNorm, gate_kind};
use crate::error::Result;
use crate::gpu::kernels::rope_flags;
use crate::program::*;

impl Planner<'_> {
    /// A norm whose every reader is a product computes nothing: its readers normalise on the way in.
    pub(super) fn norm_into_products(&mut self, ops: &[Op]) -> Result<usize> {
        let Op::Norm { kind: Norm::Rms, src, weight: Some(weight), bias: None, dst, width, epsilon } = ops[0] else {
            return Ok(0);
        };
        // The head's input is the hidden state, which may be asked for.
        let is_head = self.program.is_head(self.group);
        let whole_row = width == self.program[src] && width % 32 == 0;
        if !self.is_single || is_head || !whole_row || src == dst {
            return Ok(0);
        }
        for op in &ops[1..] {
            // A kernel that writes what its other workgroups still read would be a race.
            if op.reads(dst) && op.destination() == Some(src) {
                return Ok(0);
            }
            if let Op::Norm { dst: written, src: read, .. } = *op
                && written == dst
                && read != dst
            {
                // Written again: what follows reads something else.
                break;
            }
            let is_product = if let Op::MatMul { src: read, view, .. }
            | Op::ExpertMatMul { src: read, view, shared: true, .. } = *op
            {
                read == dst && self.in_reach(view.weight, weight)
            } else {
                // Whatever else may read what was to be normalised: the test below sees it by its operands.
                false
            };
            if !is_product && (op.reads(dst) || op.destination() == Some(dst)) {
                return Ok(0);
            }
            // The source must not change before its last reader.
            if op.destination() == Some(src) {
                let later = ops[1..].iter().skip_while(|o| !std::ptr::eq(*o, op)).skip(1);
                let mut before_rewrite = later.take_while(|o| o.destination() != Some(dst));
                if before_rewrite.any(|o| o.reads(dst)) {
                    return Ok(0);
                }
                break;
            }
        }
        self.virtual_norms.insert(dst, VirtualNorm { src, weight, epsilon });
        Ok(1)
    }

    /// Whether a kernel that multiplies with `matrix` finds `vector` in the same buffers.
    pub(super) fn in_reach(&self, matrix: WeightId, vector: WeightId) -> bool {
        self.program[matrix].group == self.program[vector].group
    }

    /// norm in place, then added to the residual stream.
    pub(super) fn norm_add(&mut self, ops: &[Op]) -> Result<usize> {
        let [Op::Norm { src, dst, width, .. }, Op::Add { src: added, dst: to }, ..] = *ops else {
            return Ok(0);
        };
        if src != dst || added != dst || width != self.program[src] {
            return Ok(0);
        }
        self.norm(&ops[0], Some(to));
        Ok(2)
    }

    /// The products of experts, added up where they go to.
    pub(super) fn expert_sum(&mut self, ops: &[Op]) -> Result<usize> {
        match *ops {
            [
                Op::ExpertMatMul { view, src, shared: false, dst, choice, used, scale, bias: None },
                Op::ExpertSum { src: summed, dst: to, choice: by, used: count },
                ..,
            ] if dst == summed && choice == by && used == count => {
                let mut product = self.expert_product(view, to, scale)?;
                product.epilogue.accumulate = true;
                self.multiply(&[product], src, Some(Experts { choice, used, form: ExpertForm::Summed }), 0)?;
                Ok(2)
            }
            _ => Ok(0),
        }
    }

    /// gate, up and their activation, dense or of experts.
    pub(super) fn gated(&mut self, ops: &[Op]) -> Result<usize> {
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
                Op::ExpertMatMul { view: a, src, shared, dst: gate, choice, used, scale: sa, bias: None },
                Op::ExpertMatMul { view: b, src: other, dst: up, scale: sb, .. },
                Op::Gate { gate: g, up: u, .. },
                ..,
            ] if src == other && gate == g && up == u => (
                self.expert_product(a, gate, sa)?,
                self.expert_product(b, up, sb)?,
                src,
                Some(Experts { choice, used, form: ExpertForm::reading(shared) }),
            ),
            _ => return Ok(0),
        };
        // Both scales are there or neither is: the kernel finds an expert's in both at the same place.
        let alike = self.kernel_of(&first) == self.kernel_of(&second)
            && first.slab.buffer == second.slab.buffer
            && first.view.rows == second.view.rows
            && (experts.is_none() || first.epilogue.scale.is_some() == second.epilogue.scale.is_some());
        let Op::Gate { activation, .. } = ops[2] else { return Ok(0) };
        let Some(kind) = gate_kind(activation).filter(|_| alike) else { return Ok(0) };
        self.multiply(&[first, second], from, experts, kind)?;
        Ok(3)
    }

    /// Up to three products of one input with matrices of one format.
    pub(super) fn projections(&mut self, ops: &[Op]) -> Result<usize> {
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
                // Where two go to one place, the second waits for the first.
                from == Some(src)
                    && self.program[first.view.weight].adapter == self.program[view.weight].adapter
                    && products.iter().all(|other| other.dst != dst)
                    && first.slab.buffer == product.slab.buffer
                    && self.program[first.view.weight].group == self.program[view.weight].group
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
    pub(super) fn rotation(&mut self, ops: &[Op]) -> Result<usize> {
        let norms = match ops {
            [Op::Norm { src: a, dst: b, .. }, Op::Norm { src: c, dst: d, .. }, ..] if a == b && c == d => 2,
            _ => 0,
        };
        let [
            Op::Rope { slot: query, heads, head_dim, rope },
            Op::Rope { slot: keys, rope: same, .. },
            Op::KvWrite { state, key, value, .. },
            ..,
        ] = ops[norms..]
        else {
            return Ok(0);
        };
        if keys != key || rope != same {
            return Ok(0);
        }
        let mut operands = RopeOperands {
            query: Some((query, heads)),
            cache: Some((state, key, value)),
            head_dim,
            rope: Some(rope),
            flags: self.style(rope) | rope_flags::ROTATES_QUERIES | rope_flags::ROTATES_KEYS | rope_flags::KEEPS,
            ..RopeOperands::default()
        };
        for norm in &ops[..norms] {
            let Op::Norm { kind: Norm::Rms, src, weight: Some(weight), bias: None, width, epsilon, .. } = *norm else {
                return Ok(0);
            };
            match width == head_dim && self.program[weight].columns == width {
                true if src == query => operands.query_norm = self.map.vector(weight),
                true if src == key => operands.key_norm = self.map.vector(weight),
                _ => return Ok(0),
            }
            operands.epsilon = epsilon;
        }
        self.rope(operands);
        Ok(norms + 3)
    }
}
