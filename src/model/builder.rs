//! Writes a [`Program`]: finds tensors by name, checks their shapes, assigns them to groups and
//! appends ops. The architectures' files read as a page of calls to it.

use crate::error::{ChordError, Result};
use crate::gguf::{Header, TensorInfo};
use crate::program::*;
use crate::quant::Dtype;
use std::collections::HashMap;

use super::config::Config;

/// A program under construction.
pub struct Builder<'a> {
    pub config: &'a Config,
    tensors: HashMap<&'a str, &'a TensorInfo>,
    ids: HashMap<String, WeightId>,
    program: Program,
    group: usize,
}

impl<'a> Builder<'a> {
    /// An empty program for `config.layers` layers.
    pub fn new(header: &'a Header, config: &'a Config) -> Self {
        Builder {
            config,
            tensors: header.tensors.iter().map(|t| (t.name.as_str(), t)).collect(),
            ids: HashMap::new(),
            program: Program::empty(config.embedding, config.vocabulary, config.layers),
            group: 0,
        }
    }

    /// Ops and tensors that follow belong to this group.
    pub fn enter(&mut self, group: usize) {
        self.group = group;
    }

    /// A new slot of `width` values a token.
    pub fn slot(&mut self, width: usize) -> Slot {
        self.program.push_slot(width)
    }

    /// Width of a slot.
    pub fn width(&self, slot: Slot) -> usize {
        self.program[slot]
    }

    /// Appends an op to the current group.
    pub fn push(&mut self, op: Op) {
        self.program.ops[self.group].push(op);
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Declares a state.
    pub fn state(&mut self, state: State) -> StateId {
        self.program.push_state(state)
    }

    /// Registers a rotation.
    pub fn rope(&mut self, rope: Rope) -> RopeId {
        self.program.push_rope(rope)
    }

    /// A vector of `length` F32 values.
    pub fn vector(&mut self, name: &str, length: usize) -> Result<WeightId> {
        let info = self.find(name)?;
        let values: u64 = info.dimensions.iter().product();
        if info.dtype != Dtype::F32 || values != length as u64 {
            let text = format!(
                "tensor '{name}' is {} {:?}; {length} F32 values are needed",
                info.dtype.name(),
                info.dimensions
            );
            return Err(ChordError::model(text).with("tensor", name));
        }
        Ok(self.weight(name, info, 1, length, false))
    }

    /// The same, where the file has it.
    pub fn optional(&mut self, name: &str, length: usize) -> Result<Option<WeightId>> {
        if self.has(name) { self.vector(name, length).map(Some) } else { Ok(None) }
    }

    /// A matrix of `rows` × `columns`; with experts, `experts` of them in one tensor.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize, experts: usize) -> Result<RowView> {
        let info = self.find(name)?;
        let mut expected = vec![columns as u64, rows as u64];
        if experts > 1 {
            expected.push(experts as u64);
        }
        let mut dimensions = info.dimensions.clone();
        while dimensions.len() > expected.len() && dimensions.last() == Some(&1) {
            dimensions.pop();
        }
        if dimensions != expected {
            let text = format!("tensor '{name}' has shape {:?}; {expected:?} is needed", info.dimensions);
            return Err(ChordError::model(text).with("tensor", name));
        }
        let weight = self.weight(name, info, rows * experts.max(1), columns, true);
        Ok(RowView { weight, first_row: 0, rows })
    }

    fn find(&self, name: &str) -> Result<&'a TensorInfo> {
        let info = self.tensors.get(name).copied();
        info.ok_or_else(|| ChordError::model(format!("tensor '{name}' is missing")).with("tensor", name))
    }

    /// Adds a tensor to the current group, once.
    fn weight(&mut self, name: &str, info: &TensorInfo, rows: usize, columns: usize, is_matrix: bool) -> WeightId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        // The file's bounds were checked in 64 bits; what does not fit usize fails at allocation.
        let bytes = usize::try_from(info.bytes).unwrap_or(usize::MAX / 4);
        let id = self.program.push_weight(Weight {
            name: name.into(),
            dtype: info.dtype,
            rows,
            columns,
            group: self.group,
            index: 0,
            group_offset: 0,
            bytes,
            part: info.part,
            file_offset: info.offset,
            is_matrix,
        });
        self.ids.insert(name.into(), id);
        id
    }

    /// dst = norm(src) with the named weight, over rows of `width` values.
    pub fn norm(&mut self, name: &str, src: Slot, dst: Slot, width: usize) -> Result<()> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        self.push(Op::Norm {
            kind: Norm::Rms,
            src,
            weight: Some(weight),
            bias: None,
            dst,
            width,
            epsilon: self.config.epsilon,
        });
        Ok(())
    }

    /// dst = W·src with the named tensor, its optional `.scale` and its optional `.bias`.
    pub fn linear(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let epilogue = self.epilogue(name, self.width(dst))?;
        self.project(name, src, dst, epilogue)
    }

    /// dst += W·src, likewise.
    pub fn linear_add(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let epilogue = self.epilogue(name, self.width(dst))?;
        self.project(name, src, dst, Epilogue { accumulate: true, ..epilogue })
    }

    /// The optional `.scale` and `.bias` of the named tensor of `rows` rows.
    pub fn epilogue(&mut self, name: &str, rows: usize) -> Result<Epilogue> {
        let scale = self.optional(&format!("{name}.scale"), 1)?;
        let bias = self.optional(&format!("{name}.bias"), rows)?;
        Ok(Epilogue { scale, bias, ..Epilogue::default() })
    }

    /// dst = epilogue(W·src) with the named tensor.
    pub fn project(&mut self, name: &str, src: Slot, dst: Slot, epilogue: Epilogue) -> Result<()> {
        let view = self.matrix(&format!("{name}.weight"), self.width(dst), self.width(src), 1)?;
        self.push(Op::MatMul { view, src, dst, epilogue });
        Ok(())
    }

    /// Several projections fused in one tensor without bias, their rows in the order of `dsts`.
    pub fn fused(&mut self, name: &str, src: Slot, dsts: &[Slot]) -> Result<()> {
        let rows = dsts.iter().map(|d| self.width(*d)).sum();
        let columns = self.width(src);
        let whole = self.matrix(&format!("{name}.weight"), rows, columns, 1)?;
        if self.has(&format!("{name}.bias")) {
            return Err(ChordError::model(format!("'{name}.bias' of a fused tensor is not supported"))
                .with("tensor", format!("{name}.bias")));
        }
        let mut first_row = 0;
        for &dst in dsts {
            let view = RowView { weight: whole.weight, first_row, rows: self.width(dst) };
            self.push(Op::MatMul { view, src, dst, epilogue: Epilogue::default() });
            first_row += view.rows;
        }
        Ok(())
    }

    /// The finished program.
    pub fn finish(mut self, outputs: Outputs) -> Program {
        self.program.outputs = outputs;
        self.program
    }
}
