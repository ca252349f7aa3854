//! What a program asks of the memory for activations.

use crate::program::*;

/// Query heads that share a key head, at most.
pub fn group_max(program: &Program) -> usize {
    let mut most = 1;
    for op in program.all_ops() {
        if let Op::Attention { heads, kv_heads, .. } = *op {
            most = most.max(heads / kv_heads);
        }
    }
    most
}

/// The widest input of a matrix, in values.
pub fn columns_max(program: &Program) -> usize {
    program.weights.iter().filter(|w| w.is_matrix).map(|w| w.columns).max().unwrap_or(1)
}

/// Inputs of a batch row at most: one for each expert in use.
pub fn experts_max(program: &Program) -> usize {
    let mut most = 1;
    for op in program.all_ops() {
        if let Op::ExpertMatMul { used, .. } = *op {
            most = most.max(used);
        }
    }
    most
}

/// Batch rows that a slot needs: the residual stream has room for a whole prompt, logits and what follows the hidden
/// state on the way to them for one token.
pub fn slot_rows(program: &Program, slot: usize, batch: usize) -> usize {
    if is_single(program, slot) { 1 } else { batch }
}

/// Whether a slot has a row for one token of a sequence only.
pub fn is_single(program: &Program, slot: usize) -> bool {
    let is_slot = |of: Slot| of.0 as usize == slot;
    let head = program.ops.len() - 1;
    let mut last = program.ops[head][program.ops_until_hidden(head)..].iter();
    is_slot(program.outputs.logits) || last.any(|op| op.destination().is_some_and(is_slot))
}
