//! Products with experts: the tokens of a batch that chose the same one are multiplied with it together, so that it is
//! read once.

use super::matmul::{self, Activations, Input};
use super::{Cpu, memory, span, vector};
use crate::error::Result;
use crate::exec::Batch;
use crate::program::*;

/// A batch's choices by expert, and room for the input and the product of the tokens that chose the same one.
pub struct Chosen {
    /// By expert: where its choices begin in `order`; behind the last, where they end.
    starts: Vec<u32>,
    /// The choices, which are numbered `used` · token + rank, by expert.
    order: Vec<u32>,
    /// Experts that were chosen, those in memory first.
    experts: Vec<u32>,
    activations: Activations,
    input: Vec<f32>,
    product: Vec<f32>,
}

/// What a program asks of [`Chosen`], at most.
#[derive(Default)]
struct Sizes {
    experts: usize,
    used: usize,
    quantised: usize,
    floats: usize,
    rows: usize,
}

impl Sizes {
    fn of(program: &Program) -> Sizes {
        let mut sizes = Sizes::default();
        for op in program.all_ops() {
            if let Op::ExpertMatMul { view, used, .. } = *op {
                let Weight { rows, columns, dtype, .. } = program[view.weight];
                let columns_max = if matmul::wants_quantised(dtype) { &mut sizes.quantised } else { &mut sizes.floats };
                *columns_max = columns.max(*columns_max);
                sizes.experts = sizes.experts.max(rows / view.rows);
                sizes.used = sizes.used.max(used);
                sizes.rows = sizes.rows.max(view.rows);
            }
        }
        sizes
    }
}

impl Chosen {
    /// Room for batches of up to `batch` tokens.
    pub fn new(program: &Program, batch: usize) -> Result<Chosen> {
        let Sizes { experts, used, quantised, floats, rows } = Sizes::of(program);
        Ok(Chosen {
            starts: memory::zeroed(experts + 1)?,
            order: memory::zeroed(batch * used)?,
            experts: Vec::with_capacity(experts),
            activations: Activations::new(quantised, batch),
            input: memory::zeroed(batch * floats)?,
            product: memory::zeroed(batch * rows)?,
        })
    }

    /// Memory that [`Chosen::new`] takes.
    pub fn bytes(program: &Program, batch: usize) -> u64 {
        let Sizes { experts, used, quantised, floats, rows } = Sizes::of(program);
        let values = 2 * experts + 1 + batch * (used + floats + rows);
        4 * values as u64 + Activations::bytes(quantised, batch) as u64
    }

    /// Orders the choices of a batch by expert.
    fn sort(&mut self, choice: &[f32], used: usize, experts: usize) {
        let chosen = |number: usize| choice[number / used * 2 * used + number % used] as usize;
        let numbers = 0..choice.len() / 2;
        let starts = &mut self.starts[..experts + 1];
        starts.fill(0);
        numbers.clone().for_each(|number| starts[chosen(number)] += 1);
        let mut end = 0;
        for start in &mut *starts {
            end += *start;
            *start = end;
        }
        // Ends become starts while what lies before them is put there, the last first.
        for number in numbers.rev() {
            let start = &mut starts[chosen(number)];
            *start -= 1;
            self.order[*start as usize] = number as u32;
        }
    }
}

impl Cpu {
    /// For each token's chosen experts: `out[t][j]` = (W_e·src)·`scale[e]` + `bias[e]`.
    pub(super) fn expert_matmul(&mut self, program: &Program, op: &Op, batch: &Batch, out: &mut [f32]) {
        let Op::ExpertMatMul { view, src, shared, choice, used, scale, bias, .. } = *op else { return };
        let Weight { columns, dtype, rows, .. } = program[view.weight];
        let is_quantised = matmul::wants_quantised(dtype);
        if is_quantised {
            self.quantise(program, src, columns, batch);
        }
        let Cpu { weights, slots, activations, stage, chosen, .. } = self;
        let source = &slots[src.0 as usize][span(program, src, batch)];
        let choice = &slots[choice.0 as usize][span(program, choice, batch)];
        let experts = rows / view.rows;
        chosen.sort(choice, used, experts);
        let Chosen { starts, order, experts: turns, activations: gathered, input: gathered_floats, product } = chosen;
        // What is in memory may have to leave it for others.
        turns.clear();
        let is_chosen = |expert: &usize| starts[*expert] < starts[expert + 1];
        for is_there in [true, false] {
            let alike = |expert: &usize| weights.has_expert(program, view, *expert) == is_there;
            turns.extend((0..experts).filter(is_chosen).filter(alike).map(|expert| expert as u32));
        }
        for expert in turns.iter().map(|expert| *expert as usize) {
            let numbers = &order[starts[expert] as usize..starts[expert + 1] as usize];
            let column = |number: &u32| *number as usize / if shared { used } else { 1 };
            let view = RowView { first_row: view.first_row + expert * view.rows, ..view };
            weights.demand_expert(program, view.weight, expert, numbers.len(), stage);
            if let [number] = numbers {
                let input = if is_quantised { Input::Quantised(activations) } else { Input::F32(source) };
                let (column, out) = (column(number), &mut out[*number as usize * view.rows..][..view.rows]);
                weights.multiply(program, view, input, column..column + 1, out, false, stage);
                continue;
            }
            let input = if is_quantised {
                gathered.gather(activations, numbers.iter().map(column));
                Input::Quantised(gathered)
            } else {
                for (to, number) in gathered_floats.chunks_exact_mut(columns).zip(numbers) {
                    to.copy_from_slice(&source[column(number) * columns..][..columns]);
                }
                Input::F32(gathered_floats)
            };
            let product = &mut product[..numbers.len() * view.rows];
            weights.multiply(program, view, input, 0..numbers.len(), product, false, stage);
            for (values, number) in product.chunks_exact(view.rows).zip(numbers) {
                out[*number as usize * view.rows..][..view.rows].copy_from_slice(values);
            }
        }
        let [scale, bias] = [scale, bias].map(|id| id.map(|id| weights.vector(program, id)));
        for (choice, out) in choice.chunks_exact(2 * used).zip(out.chunks_exact_mut(used * view.rows)) {
            for (expert, out) in choice.iter().map(|expert| *expert as usize).zip(out.chunks_exact_mut(view.rows)) {
                if let Some(scale) = scale {
                    vector::scale(out, scale[expert]);
                }
                if let Some(bias) = bias {
                    vector::add(out, &bias[expert * view.rows..][..view.rows]);
                }
            }
        }
    }
}
