//! What an op reads, writes, weighs and remembers, as one table, and what follows from it.

use super::{Op, RowView, Slot, StateId, WeightId};

/// One operand of an op, in its place.
#[derive(Debug, PartialEq, Eq)]
pub enum Operand<'a> {
    /// A slot whose values the op uses.
    Read(&'a mut Slot),
    /// A slot that gets new values.
    Write(&'a mut Slot),
    /// A slot whose values are changed.
    Update(&'a mut Slot),
    /// A matrix that it multiplies with.
    Matrix(&'a mut RowView),
    /// A matrix of which it takes rows as they are.
    Table(&'a mut WeightId),
    /// F32 values.
    Vector(&'a mut WeightId),
    /// State of the sequence that it uses.
    ReadState(&'a mut StateId),
    /// State of the sequence that it moves on.
    WriteState(&'a mut StateId),
}

impl Op {
    /// Shows every operand to `visit`: the one table of what an op reads, writes, weighs and remembers.
    pub fn operands(&mut self, visit: &mut dyn FnMut(Operand)) {
        use Operand::*;
        fn vectors(visit: &mut dyn FnMut(Operand), ids: [&mut Option<WeightId>; 2]) {
            ids.into_iter().flatten().for_each(|id| visit(Vector(id)));
        }
        match self {
            Op::Embed { table, dst, scale: _ } => {
                visit(Table(table));
                visit(Write(dst));
            }
            Op::EmbedPosition { table, dst } => {
                visit(Table(table));
                visit(Update(dst));
            }
            Op::EmbedRow { table, row: _, dst } => {
                visit(Table(table));
                visit(Update(dst));
            }
            Op::Norm { kind: _, src, weight, bias, dst, width: _, epsilon: _ } => {
                vectors(visit, [weight, bias]);
                visit(Read(src));
                visit(Write(dst));
            }
            Op::MatMul { view, src, dst, epilogue } => {
                visit(Matrix(view));
                vectors(visit, [&mut epilogue.scale, &mut epilogue.bias]);
                visit(Read(src));
                visit(if epilogue.accumulate { Update(dst) } else { Write(dst) });
            }
            Op::Rope { slot, heads: _, head_dim: _, rope: _ } => visit(Update(slot)),
            Op::KvWrite { state, key, value, head_dim: _ } => {
                visit(Read(key));
                visit(Read(value));
                visit(WriteState(state));
            }
            Op::Attention {
                state,
                query,
                dst,
                sinks,
                heads: _,
                kv_heads: _,
                head_dim: _,
                scale: _,
                mask: _,
                softcap: _,
                alibi: _,
            } => {
                visit(ReadState(state));
                sinks.iter_mut().for_each(|id| visit(Vector(id)));
                visit(Read(query));
                visit(Write(dst));
            }
            Op::Gate { gate, up, activation: _ } => {
                visit(Read(up));
                visit(Update(gate));
            }
            Op::Activate { slot, activation: _ } => visit(Update(slot)),
            Op::Add { src, dst } => {
                visit(Read(src));
                visit(Update(dst));
            }
            Op::Scale { slot, factor: _ } => visit(Update(slot)),
            Op::Adapt { slot, adapter: _, factor: _ } => visit(Update(slot)),
            Op::Weigh { slot, weight } => {
                visit(Vector(weight));
                visit(Update(slot));
            }
            Op::Clamp { slot, limit: _ } => visit(Update(slot)),
            Op::Softcap { slot, cap: _ } => visit(Update(slot)),
            Op::Route { logits, choice, used: _, routing } => {
                routing.bias.iter_mut().for_each(|id| visit(Vector(id)));
                visit(Read(logits));
                visit(Write(choice));
            }
            Op::ExpertMatMul { view, src, shared: _, dst, choice, used: _, scale, bias } => {
                visit(Matrix(view));
                vectors(visit, [scale, bias]);
                visit(Read(src));
                visit(Read(choice));
                visit(Write(dst));
            }
            Op::ExpertSum { src, dst, choice, used: _ } => {
                visit(Read(src));
                visit(Read(choice));
                visit(Update(dst));
            }
            Op::Copy { src, dst, run: _, count: _, from: _, to: _ } => {
                visit(Read(src));
                visit(Update(dst));
            }
            Op::ShortConv { state, slot, kernel, bias } => {
                kernel.iter_mut().for_each(|id| visit(Vector(id)));
                bias.iter_mut().for_each(|id| visit(Vector(id)));
                visit(WriteState(state));
                visit(Update(slot));
            }
            Op::Scan { state, input, step, key, query, dst, bias, rate, skip, groups: _ } => {
                bias.iter_mut().for_each(|id| visit(Vector(id)));
                [rate, skip].into_iter().for_each(|id| visit(Vector(id)));
                [input, step, key, query].into_iter().for_each(|slot| visit(Read(slot)));
                visit(WriteState(state));
                visit(Write(dst));
            }
            Op::Wkv { state, query, key, value, decay, erase, dst, early: _ } => {
                [query, key, value, decay].into_iter().for_each(|slot| visit(Read(slot)));
                erase.iter_mut().flatten().for_each(|slot| visit(Read(slot)));
                visit(WriteState(state));
                visit(Write(dst));
            }
            Op::Echo { query, key, value, dst, heads: _ } => {
                [query, key, value].into_iter().for_each(|slot| visit(Read(slot)));
                visit(Write(dst));
            }
            Op::DeltaRule { state, query, key, value, decay, beta, dst, bias, rate, groups: _, interleaved: _ } => {
                [bias, rate].into_iter().for_each(|id| visit(Vector(id)));
                [query, key, value, decay, beta].into_iter().for_each(|slot| visit(Read(slot)));
                visit(WriteState(state));
                visit(Write(dst));
            }
        }
    }

    /// The slot that it writes or changes, if any.
    pub fn destination(&self) -> Option<Slot> {
        let mut destination = None;
        { *self }.operands(&mut |operand| {
            if let Operand::Write(slot) | Operand::Update(slot) = operand {
                destination = Some(*slot);
            }
        });
        destination
    }

    /// Whether it uses the values of a slot, be it the one that it changes.
    pub fn reads(&self, slot: Slot) -> bool {
        let mut reads = false;
        { *self }.operands(&mut |operand| {
            if let Operand::Read(read) | Operand::Update(read) = operand {
                reads |= *read == slot;
            }
        });
        reads
    }

    /// The state that it moves on, if any.
    pub fn written_state(&self) -> Option<StateId> {
        let mut written = None;
        { *self }.operands(&mut |operand| {
            if let Operand::WriteState(state) = operand {
                written = Some(*state);
            }
        });
        written
    }

    /// The matrix that it multiplies with, if any.
    pub fn matrix(&self) -> Option<RowView> {
        let mut matrix = None;
        { *self }.operands(&mut |operand| {
            if let Operand::Matrix(view) = operand {
                matrix = Some(*view);
            }
        });
        matrix
    }
}
